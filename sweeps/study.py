"""A user study: which of two models' motions, or the true ones, do people find to fit better?

    python -m sweeps.study MODEL_A MODEL_B --data CLIPS --split objects --out STUDY
    python -m sweeps.study serve STUDY
    python -m sweeps.study analyse STUDY

Serving needs neither torch nor Ray: what does is imported where it is used.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from sweeps.__main__ import OneSentenceErrors
from sweeps.errors import SweepError
from sweeps.study_command import SETTINGS, build

EXAMPLES = """
\b
Examples:
  python -m sweeps.study power --raters 20 --pairs 24
  python -m sweeps.study latentact-dexycb-objects@3 latentact-dexycb-objects@2 --data data/dexycb --split objects --out study
  python -m sweeps.study build latentact-dexycb-objects@3 truth --data data/dexycb --split objects --part test --out study
  python -m sweeps.study serve study
  python -m sweeps.study analyse study

A study is a folder: public/ is the page, which also works from a disk or any static server (raters then save their
answers as files); key.json says whose motion is whose and belongs on no server. The page holds photos and poses of the data
set: show it only as the licences of the data set and of the hand model allow.
"""


class BuildByDefault(OneSentenceErrors):
    """`python -m sweeps.study MODEL_A MODEL_B ...` is `... build MODEL_A MODEL_B ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["build", *args]
        return super().parse_args(ctx, args)


@click.group(cls=BuildByDefault, epilog=EXAMPLES, context_settings=SETTINGS)
def main() -> None:
    """Which of two models' motions do people find to fit better? Build a study, gather answers, analyse them."""


@main.command(context_settings=SETTINGS)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 takes any free one."
)
@click.option(
    "--most-raters", type=click.IntRange(1), default=2000, show_default=True, help="Then no more are taken."
)
@click.option(
    "--allow-origin", multiple=True, metavar="ORIGIN", help="Another server whose page may send answers here."
)
def serve(folder: Path, host: str, port: int, most_raters: int, allow_origin: tuple[str, ...]) -> None:
    """Serve the study in FOLDER and keep its answers in FOLDER/votes.sqlite, until interrupted.

    Needs public/ and design.json alone: copy these two to a server, and leave key.json at home. For the open internet,
    put a server that speaks https before it.
    """
    from sweeps import study_server

    study_server.serve(
        folder, host=host, port=port, most_raters=most_raters, allowed_origins=allow_origin, say=click.echo
    )


@main.command(context_settings=SETTINGS)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("results", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (its fields: sweeps/study_analysis.py).")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write analysis.md and analysis.json there.",
)
def analyse(folder: Path, results: tuple[Path, ...], as_json: bool, out: Path | None) -> None:
    """Analyse the answers to the study in FOLDER, which holds its key.json.

    RESULTS are databases of the server and files that raters saved, or folders of them.  [default: FOLDER/votes.sqlite and
    FOLDER/results]
    """
    from sweeps.study_analysis import analyse_study
    from sweeps.study_text import markdown

    record = analyse_study(folder, results)
    text, encoded = markdown(record), json.dumps(record, indent=1)
    if out is not None:
        from trainables.whole_file import written_whole

        for name, content in (("analysis.md", text), ("analysis.json", encoded + "\n")):
            with written_whole(out / name) as place:
                place.write_text(content, "utf-8")
    click.echo(encoded if as_json else text)


@main.command(context_settings=SETTINGS)
@click.option("--raters", type=click.IntRange(2), default=20, show_default=True)
@click.option("--pairs", type=click.IntRange(2), default=24, show_default=True, help="Clips, one pair each.")
@click.option("--per-rater", type=click.IntRange(1), help="Pairs that one rater sees.  [default: all]")
@click.option(
    "--share",
    type=click.FloatRange(0.5, 1, min_open=True),
    default=0.6,
    show_default=True,
    help="The preference that is to be found.",
)
@click.option(
    "--rater-part",
    type=click.FloatRange(0, 1),
    default=0.03,
    show_default=True,
    help="Of an answer's variance, what is between raters.",
)
@click.option(
    "--clip-part",
    type=click.FloatRange(0, 1),
    default=0.15,
    show_default=True,
    help="Likewise between clips.",
)
def power(
    raters: int, pairs: int, per_rater: int | None, share: float, rater_part: float, clip_part: float
) -> None:
    """Before a study: what it could see, and how many raters a preference of --share needs."""
    from sweeps.study_power import Variances
    from sweeps.study_text import power_lines

    if rater_part + clip_part > 1:
        raise SweepError("--rater-part and --clip-part are parts of one variance: together at most 1.")
    assumed = Variances.assumed(0.5, (rater_part, clip_part))
    sizes = {"raters": raters, "clips": pairs, "per_rater": min(per_rater or pairs, pairs)}
    for line in power_lines(assumed, **sizes, share=share, source="Supposed"):
        click.echo(line)


main.add_command(build)

if __name__ == "__main__":
    main(prog_name="python -m sweeps.study")
