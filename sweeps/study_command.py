"""The command that builds a user study: its options, and a sentence for what does not fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from sweeps.errors import SweepError

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.command(context_settings=SETTINGS)
@click.argument("model_a")
@click.argument("model_b", metavar="MODEL_B|truth")
@click.option("--data", required=True, help="Clips to show: a folder or s3:// address.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="study",
    show_default=True,
    help="The folder of the study, a new one.",
)
@click.option("--split", help="A setting of these data.  [default: none, all clips]")
@click.option(
    "--part", type=click.Choice(["val", "test", "all"]), help="[default: val with --split, else all]"
)
@click.option(
    "--protocol", type=click.Choice(["first", "goal"]), help="Contact point given.  [default: the models']"
)
@click.option("--pairs", type=click.IntRange(1), default=24, show_default=True, help="Clips, one pair each.")
@click.option("--per-rater", type=click.IntRange(1), help="Pairs that one rater sees.  [default: all]")
@click.option(
    "--checks", type=click.IntRange(0), default=4, show_default=True, help="Attention checks a rater."
)
@click.option(
    "--failed-checks", type=click.IntRange(0), default=0, show_default=True, help="How many may be missed."
)
@click.option(
    "--repeats", type=click.IntRange(0), default=3, show_default=True, help="Pairs that a rater sees twice."
)
@click.option(
    "--slots",
    type=click.IntRange(2, 2000),
    default=60,
    show_default=True,
    help="Different sequences, for as many raters; more raters take them in turn.",
)
@click.option("--ties", is_flag=True, help='Offer "no difference".  [default: a forced choice of two]')
@click.option("--question", default="", help="In place of: Which motion fits the photo and the words better?")
@click.option(
    "--consent",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A text file in place of the first page's words; blank lines between paragraphs.",
)
@click.option(
    "--endpoint",
    default="",
    metavar="URL",
    help="Where a page on another server sends answers: https://HOST/api.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Chooses the clips. Sides and names follow from a secret salt.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
def build(**request: Any) -> None:
    """Build the study of MODEL_A against MODEL_B, or against the true motions.

    Models are NAME[@version|@alias] of the zoo, or local folders. Both get the same windows of the same clips, drawn by
    the seed, group by group. --part val, the default, is for trying a study and for choosing between models; a study that
    is to be reported is built once, with --part test, and selects nothing.
    """
    from sweeps.command import fail_clearly  # not for the server, which needs neither torch nor Ray

    fail_clearly(_build)(**request)


def _build(
    model_a: str, model_b: str, data: str, out: Path, split: str | None, part: str | None, protocol: str | None,
    pairs: int, per_rater: int | None, checks: int, failed_checks: int, repeats: int, slots: int, ties: bool,
    question: str, consent: Path | None, endpoint: str, seed: int, device: str | None,
) -> int:  # fmt: skip
    import torch

    from sweeps.cross_data import Asked
    from sweeps.opened_model import open_model
    from sweeps.study_build import TRUTH, Request, build_study
    from sweeps.study_design import A, B, Sizes
    from trainables.clips import read_clips
    from zoo import settings as zoo_settings

    os.environ.update(zoo_settings.environment())

    if split is None and part not in (None, "all"):
        raise SweepError(f"--part {part} needs --split: which setting's {part} part?")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise SweepError(f"--endpoint {endpoint}: give an address that begins with https:// (or http://).")
    if failed_checks and failed_checks >= checks:
        raise SweepError(
            f"--failed-checks {failed_checks}: with {checks} checks that would let every rater pass."
        )
    if TRUTH == model_a or model_a == model_b:
        raise SweepError("give two different models, or a model and then the word truth.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    names = {A: model_a, B: model_b}
    opened = {source: open_model(name, device=device) for source, name in names.items() if name != TRUTH}
    protocols = sorted({one.model.config.protocol for one in opened.values()})
    if protocol is None and len(protocols) > 1:
        raise SweepError(
            "the models were trained with different contact points: say which both get, with --protocol."
        )
    request = Request(
        asked=Asked(
            split=split, part=part or ("val" if split else "all"), protocol=protocol or protocols[0], stride=1
        ),
        pairs=pairs,
        sizes=Sizes(per_rater=per_rater or pairs, checks=checks, repeats=repeats, slots=slots),
        seed=seed,
        ties=ties,
        question=question,
        about=_paragraphs(consent) if consent else (),
        failed_checks=failed_checks,
        endpoint=endpoint,
    )
    say = _to_stderr
    names |= {source: one.reference for source, one in opened.items()}
    key = build_study(out, opened, names, read_clips(data), request, device=device, say=say)
    for note in key["notes"]:
        say(f"Note: {note}")
    screens = request.sizes.presentations
    click.echo(f"Study:    {out} ({key['study']}): {pairs} pairs, {screens} screens a rater")
    click.echo(f"Rule:     {_rule(key)}")
    click.echo(f"Page:     {out}/public/index.html")
    click.echo(f"Serve it: python -m sweeps.study serve {out}")
    click.echo(f"Key:      {out}/key.json names the motions; it must reach no rater and no web server.")
    if request.asked.part == "test":
        click.echo(f"Test read: {key['data']['name']} {split}. Report it; select nothing by it.")
    return 0


def _rule(key: dict[str, Any]) -> str:
    from sweeps.study_text import rule_words

    return rule_words(key["rule"], key["sizes"]["checks"])


def _paragraphs(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise SweepError(f"--consent {path} is not UTF-8 text.") from None
    found = tuple(" ".join(part.split()) for part in text.replace("\r\n", "\n").split("\n\n") if part.strip())
    if not found:
        raise SweepError(f"--consent {path} is empty: write what raters are to know, or leave it out.")
    return found


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)
