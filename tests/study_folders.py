"""A small user study as the command builds it, and raters who answer it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result

from sweeps.study import main
from sweeps.study_votes import Design
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.model_folder import save_model

PAIRS, CHECKS, REPEATS, SLOTS = 8, 2, 2, 6
SCREENS = PAIRS + CHECKS + REPEATS


def random_model(folder: Path, seed: int, *, digest: str = "d" * 64, **changes: Any) -> Path:
    """The folder of a model with random weights, which says that it was trained on the data of this digest."""
    hand = load_hand()
    torch.manual_seed(seed)
    shape = tiny(**changes).model(data="elsewhere", data_digest=digest, hand=hand.name, encoders={})
    save_model(LatentAct(shape, hand), folder)
    return folder


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refusal(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code != 0 and "Error: " in result.stderr, result.output
    return result.stderr


def small_study(folder: Path, *more: object, name: str = "study") -> Path:
    """A study of two random models over the tiny clips, beside them in `folder`."""
    if not (folder / "clips").exists():
        tiny_clips(folder / "clips")
        for seed, model in enumerate(("proud-heron", "meek-otter")):
            random_model(folder / model, seed)
    study = folder / name
    models = (folder / "proud-heron", folder / "meek-otter")
    sizes = ("--pairs", PAIRS, "--checks", CHECKS, "--repeats", REPEATS, "--slots", SLOTS)
    result = run(*models, "--data", folder / "clips", *sizes, *more, "--out", study)
    assert result.exit_code == 0, result.output
    return study


def read(study: Path) -> tuple[Design, dict[str, Any]]:
    return Design.read(study), json.loads((study / "key.json").read_text())


Choose = Callable[[Mapping[str, Any], str, random.Random], str]


def careful(share_of_a: float) -> Choose:
    """A rater who sees what is broken, and prefers A in that share of the pairs."""

    def choose(pair: Mapping[str, Any], left: str, rng: random.Random) -> str:
        good = "true" if pair["kind"] == "check" else "a"
        favours = pair["kind"] == "check" or rng.random() < share_of_a
        return "left" if (pair["motions"][left] == good) == favours else "right"

    return choose


def votes_of(
    study: Path, rater: str, slot: int, choose: Choose, screens: int | None = None
) -> list[dict[str, Any]]:
    """One rater's answers, as the page would send them."""
    design, key = read(study)
    pairs = {pair["pair"]: pair for pair in key["pairs"]}
    rng, votes = random.Random(rater), []
    for position in range(design.screens if screens is None else screens):
        pair, left = design.screen(slot, position)
        votes.append(
            {
                "study": design.study, "rater": rater, "slot": slot, "position": position, "pair": pair, "left": left,
                "choice": choose(pairs[pair], left, rng), "plays": 2, "answer_ms": 3000 + 100 * position,
            }
        )  # fmt: skip
    return votes


def rater_id(number: int) -> str:
    return f"{number:032x}"


def write_results(study: Path, rater: str, slot: int, choose: Choose, screens: int | None = None) -> Path:
    """The file that the rater's page would save."""
    votes = votes_of(study, rater, slot, choose, screens)
    common = {name: votes[0][name] for name in ("study", "rater", "slot")}
    rows = [{name: value for name, value in vote.items() if name not in common} for vote in votes]
    path = study / "results" / f"{rater}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema": 1, **common, "votes": rows}))
    return path
