"""The table that ends a sweep's log: right figures, the verdict's marks, and never wider than a terminal."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sweeps.leaderboard import WIDTH, print_leaderboard
from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.selection import rank
from sweeps.space import OBJECTIVES, Axis

CODES = Axis("codes", "int", 64, 1024, log=True)
DEPTH = Axis("decoder_depth", "int", 1, 4)
OTHERS = tuple(
    Axis(field, "float", 1e-4, 1e-2, log=True)
    for field in ("learning_rate", "code_weight", "codebook_joint_weight", "commitment_weight", "ema_decay")
)


def plan(*axes: Axis, **changes: Any) -> SweepPlan:
    return SweepPlan(
        data="data/world",
        data_name="world",
        data_digest="d" * 64,
        settings=("objects",),
        axes=axes,
        trials=9,
        epochs=8,
        seeds=2,
        seed=0,
        workers="1",
        protocol="first",
        name="mine",
        **changes,
    )


def trial(codes: int, mpjpe_cm: float, status: str = "finished", seed: int = 0, **more: Any) -> TrialRecord:
    params = {"codes": codes, "decoder_depth": 2, **more, "seed": seed}
    metrics = {
        "mpjpe_cm": mpjpe_cm,
        "contact_f1": 0.7,
        "parameters": 1000.0 * codes,
        "latency_ms": 1e4 / codes,
    }
    return TrialRecord(
        f"t{codes}-{seed}",
        "objects",
        "repeat" if seed else "search",
        params,
        status=status,  # type: ignore[arg-type]
        epochs=8 if status == "finished" else 2,
        metrics={} if status == "failed" else metrics,
        seconds=70.0,
    )


def shown(capsys: pytest.CaptureFixture[str], *given: Any) -> tuple[list[list[str]], list[str]]:
    """The cells of every row, and what stands below the table."""
    print_leaderboard(*given)
    lines = capsys.readouterr().out.splitlines()
    edge = max(i for i, line in enumerate(lines) if line.startswith("+"))
    assert all(len(line.rstrip()) <= WIDTH for line in lines[: edge + 1])
    assert not any("…" in line for line in lines)
    body = next(i for i, line in enumerate(lines) if line.startswith("|-"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[body + 1 : edge]], lines[
        edge + 1 :
    ]


TRIALS = [
    trial(512, 5.30),
    trial(512, 5.40, seed=1),
    trial(256, 5.37),
    trial(256, 5.39, seed=1),
    trial(128, 6.0),
    trial(128, 6.1, seed=1),
    trial(64, 6.5),
    trial(300, 7.0, "stopped"),
    trial(400, 0.0, "failed"),
]


def test_a_row_is_a_configuration_with_the_verdicts_mark(capsys: pytest.CaptureFixture[str]) -> None:
    ranked = rank(TRIALS)
    report = {
        "val": {
            "t64-0": {"estimate": 6.5, "low": 6.1, "high": 6.9},
            "t512-0": {"estimate": 5, "low": 1, "high": 9},
        },
        "verdict": {
            "winner": ranked[1].key,
            "tied": [ranked[0].key, ranked[1].key],
            "figures": {c.key: {"estimate": 5.0, "low": 4.25, "high": 6.5} for c in ranked[:3]},
            "reason": "256 codes, depth 2 is chosen: cheaper [and as good].",
        },
        "lines": ["Registered:  latentact-world-objects@1"],
    }
    rows, below = shown(capsys, plan(CODES, DEPTH), "objects", TRIALS, report, "file:///store")
    assert rows == [
        ["1", "tied", "512", "2", "2", "5.35 (4.25-6.50)", "0.07", "0.700", "0.51 M", "8", "140"],
        ["2", "chosen", "256", "2", "2", "5.38 (4.25-6.50)", "0.01", "0.700", "0.26 M", "8", "140"],
        ["3", "worse", "128", "2", "2", "6.05 (4.25-6.50)", "0.07", "0.700", "0.13 M", "8", "140"],
        ["4", "finished", "64", "2", "1", "6.50 (6.10-6.90)", "", "0.700", "64000", "8", "70"],
        ["", "stopped", "300", "2", "", "7.00", "", "0.700", "0.30 M", "2", "70"],
        ["", "failed", "400", "2", "", "-", "", "-", "-", "2", "70"],
    ]
    assert below == [
        "Verdict:     256 codes, depth 2 is chosen: cheaper [and as good].",
        "Registered:  latentact-world-objects@1",
    ]


def test_before_there_is_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    rows, below = shown(capsys, plan(CODES, DEPTH), "objects", [trial(64, 6.5)], None, "file:///store")
    assert rows == [["1", "finished", "64", "2", "1", "6.50", "0.700", "64000", "8", "70"]]
    assert below == ["Checkpoint:  file:///store/trials/t64-0"]
    print_leaderboard(plan(CODES), "objects", [], None, "file:///store")
    assert capsys.readouterr().out == "world objects: validation, protocol first\nNo trial has begun.\n"


def test_several_objectives_mark_the_front_of_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    asked = plan(CODES, objectives=(OBJECTIVES["mpjpe_cm"], OBJECTIVES["parameters"]))
    # A lucky second seed is no way onto the front.
    tried = [
        trial(512, 5.0),
        trial(256, 5.5),
        trial(300, 5.6),
        trial(300, 4.0, seed=1),
        trial(100, 6.0, "stopped"),
    ]
    rows, below = shown(capsys, asked, "objects", tried, {"lines": []}, "file:///store")
    assert {row[3]: row[2] for row in rows} == {"512": "yes", "256": "yes", "300": "", "100": ""}
    assert below == ["Front:       no other is better in all of mpjpe_cm, parameters"]


def test_a_large_sweep_shows_its_best_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    tried = [trial(i, 5 + i / 100) for i in range(1, 41)] + [trial(i, 9.0, "stopped") for i in range(50, 70)]
    tried.append(trial(99, 0.0, "failed"))
    rows, below = shown(capsys, plan(CODES), "objects", tried, {"lines": []}, "file:///store")
    assert [row[0] for row in rows if row[0]] == [str(i) for i in range(1, 31)]
    assert below == ["... and 10 more that finished, down to 5.40 cm", "... and 8 stopped, 1 failed more"]


@pytest.mark.parametrize("fields", range(1, 8))
@pytest.mark.parametrize("objectives", [1, 4])
def test_it_fits_a_terminal_whatever_is_searched(
    capsys: pytest.CaptureFixture[str], fields: int, objectives: int
) -> None:
    axes = (CODES, DEPTH, *OTHERS)[:fields]
    asked = plan(*axes, objectives=tuple(OBJECTIVES.values())[:objectives])
    rng = random.Random(fields)
    tried = []
    for i in range(12):
        values = {axis.field: rng.uniform(1e-4, 1e-2) for axis in axes[2:]}
        tried.append(trial(1000 + i, 12 + rng.random(), **values))
        tried += [trial(1000 + i, 12 + rng.random(), seed=1, **values)] if i < 4 else []
    intervals = {c.key: {"estimate": 12.0, "low": 10.25, "high": 14.5} for c in rank(tried)}
    verdict = {"winner": "", "tied": [], "figures": intervals, "reason": "x"}
    rows, _ = shown(capsys, asked, "objects", tried, {"verdict": verdict}, "file:///store")
    # Neither what was searched nor the figure that decides is ever left out.
    flat = " ".join(cell for row in rows for cell in row)
    assert flat.count("(10.25-14.50)") == 12
    for name, value in tried[0].params.items():
        assert name == "seed" or f"{value:.4g}" in flat
