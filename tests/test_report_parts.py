"""The report: its parts, each on records that it could meet."""
# ruff: noqa: F811 (fixtures of a neighbour)

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest
from made_up_sweep import AXES, BEGAN_S, DIGEST, EPOCHS, PLAN, made_up_sweep, trial, view
from test_report import MPJPE, PARAMETERS, Seen, page, section, session, text_of, timed, whole, with_figures  # noqa: F401 (fixtures among them)

from sweeps.ledger import Ledger
from sweeps.plan import SweepPlan
from sweeps.report import view_of, write_report
from sweeps.report_cost import cost
from sweeps.report_ruler import Ruler
from sweeps.report_sessions import sessions
from sweeps.report_view import SweepView
from sweeps.selection import params_key
from sweeps.space import Axis
from zoo.store import open_store


def test_trials_of_others_are_not_on_the_timeline() -> None:
    trials = [timed(0, 10, "0"), timed(0, 500, "0", codes=128, sweep="another"), trial(codes=512)]
    made = view(trials, notes=[session(0)])
    assert [t.identity for s in sessions(made) for t in s.trials] == [trials[0].identity]
    seen = section(write_report(made), "cluster")
    assert seen.count('<g data-t="') == 1 and "1 trial of this sweep without a known place and time" in seen


def test_cost_adds_up_and_compares_with_naive_training() -> None:
    first = trial(seconds=31.0)  # 10 + 4 + 16 s of stages and one of loading; all epochs
    shared = trial(decoder_depth=3, seconds=24.0, stage_seconds={"indexer": 4.0, "predictor": 20.0})
    stopped = trial(
        decoder_depth=4,
        seconds=10.0,
        stage_seconds={"indexer": 4.0, "predictor": 6.0},
        status="stopped",
        epochs=2,
    )
    failed = trial(codes=512, seconds=5.0, stage_seconds={"codebook": 5.0}, status="failed", reason="lost")
    others = trial(
        codes=1024,
        seconds=99.0,
        sweep="another",
        stage_seconds={"codebook": 8.0, "indexer": 2.0, "predictor": 40.0},
    )
    made = view([first, shared, stopped, failed, others], notes=[session(0, usd_per_hour=3.6)])
    found = cost(made)
    assert found.spent_s == pytest.approx(70)
    # Each from scratch, all epochs: 10+4+16, 10+4+20, 10+4+24 and, of the other sweep, 8+2+40.
    assert found.naive_s == pytest.approx(30 + 34 + 38 + 50)
    assert found.saved_s == pytest.approx(
        {
            "trials of other sweeps": 50,
            "codebooks shared": 20,
            "indexers shared": 0,
            "stopped early": 18,
            "loading, waiting, starting again": -1,
            "failed and unfinished trials": -5,
        }
    )
    assert found.naive_s - sum(found.saved_s.values()) == pytest.approx(found.spent_s)
    assert found.usd == pytest.approx((70 / 3600 * 3.6, 70 / 3600 * 3.6))
    assert (found.others, found.codebooks, found.codebooks_trained, found.codebook_users) == (1, 3, 2, 5)
    assert found.stage_total("codebook") == 15 and found.stage_total("other") == 1
    seen = text_of(section(write_report(made), "cost"))
    assert "Training took 1 min 10 s: 0.0194 GPU hours, USD 0.07." in seen
    assert (
        f"this sweep spent {70 / 152:.1%} of that" in seen
        and "1 trial was found trained by other sweeps" in seen
    )


def test_elastic_workers_cost_a_range_and_a_missing_price_is_unknown() -> None:
    made = view([trial(seconds=3600.0)], plan={**PLAN, "workers": "1:4"})
    assert cost(made).worker_hours == (1.0, 4.0) and cost(made).usd is None
    assert "1 to 4 core hours, at an unknown price" in text_of(section(write_report(made), "cost"))


def test_failures_are_listed_by_reason_and_remarks_beside_them() -> None:
    trials = [
        trial(codes=128 * (i + 1), status="failed", reason="the loss is NaN", attempts=2) for i in range(3)
    ]
    trials += [trial(seed=7, reason="out of memory once, finished alone")]
    seen = text_of(section(write_report(view(trials)), "failures"))
    assert (
        "3 failed the loss is NaN" in seen
        and "objects: 384 codes, depth 2, seed 0, 2 attempts, 8 epochs" in seen
    )
    assert "1 ended well out of memory once, finished alone" in seen


def test_nothing_in_a_name_becomes_code() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    axes = (Axis("method", "choice", choices=(evil, "plain")), Axis("codes", "choice", choices=(1, 2)))
    trials = [
        trial(
            evil,
            params={"method": method, "codes": codes, "seed": 0},
            identity=f"{method}{codes}",
            status="failed" if codes == 1 else "finished",
            reason=evil,
            slot=evil,
            began_s=BEGAN_S,
            ended_s=BEGAN_S + 9,
            codebook=evil,
            sweep=evil,
            history=[{"stage": "codebook", "epoch": 1, "loss": 1.0, "codebook_perplexity": 3.0}],
        )
        for method in (evil, "plain")
        for codes in (1, 2)
    ]
    verdict = {"winner": params_key(trials[1].params), "tied": [], "reason": evil, "tests": [{evil: evil}]}
    reports = {evil: {"verdict": verdict, "lines": [evil], "hand": evil}}
    notes = [session(0, command=evil, device=evil, kind="session")]
    seen = Seen(
        write_report(
            view(
                trials,
                name=evil,
                axes=axes,
                reports=reports,
                notes=notes,
                plan={**PLAN, "data": evil, evil: evil},
            )
        )
    )
    tags = Counter(tag for tag, _ in seen.tags)
    assert tags["script"] == 1 and tags["img"] == 0 and len(seen.scripts) == 1 and seen.open == []
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert seen.text.count("<script>alert(1)</script>") > 10  # as text, where a reader sees it


def test_secrets_of_the_command_and_of_reasons_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2-hunter2")
    failed = trial(status="failed", reason="cannot reach s3://me:pa55word@host/bucket with hunter2-hunter2")
    notes = [session(0, command="sweeps/codebook_size.py --data s3://me:pa55word@host/world")]
    seen = write_report(view([failed], notes=notes))
    assert "pa55word" not in seen and "hunter2" not in seen
    assert "sweeps/codebook_size.py --data s3://" in seen


@pytest.mark.parametrize(
    "made",
    [
        view([], settings={}),
        view([], settings={"objects": []}),
        view([trial()]),
        view(
            [
                trial(
                    status="unfinished",
                    epochs=0,
                    metrics={},
                    curve=[],
                    seconds=0.0,
                    stage_seconds={},
                    sweep="",
                )
            ]
        ),
        view([trial(metrics={"mpjpe_cm": math.nan, "contact_f1": math.inf}, curve=[(1, math.nan)])]),
        view(
            [trial(status="failed", metrics={}, curve=[], epochs=0, seconds=0.0, stage_seconds={}, reason="")]
        ),
        view([trial(history=[{"stage": "predictor"}, {"stage": "codebook", "epoch": 1, "loss": math.nan}])]),
        view([trial(), trial(codes=300, params={"seed": 0})], plan={}),
        view([trial(codebook="", stage_seconds={"predictor": 9.0})], axes=()),
    ],
    ids=[
        "nothing",
        "no trial",
        "one",
        "unfinished",
        "no number",
        "failed",
        "odd history",
        "odd params",
        "no axes",
    ],
)
def test_whatever_is_missing_the_page_is_whole(made: SweepView) -> None:
    seen = Seen(write_report(made))
    assert seen.open == []
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", seen.text)
    assert "What the figures mean" in seen.text


def test_an_unfinished_sweep_says_that_nothing_is_known_yet() -> None:
    seen = Seen(write_report(view([trial(status="unfinished", metrics={}, curve=[])]))).text
    assert "No trial has finished: nothing can be said yet." in seen
    assert "No trial has reached the first epoch of its predictor." in seen and "1 unfinished" in seen


def test_the_stand_in_hand_is_told_where_a_report_says_so() -> None:
    said = "figures do not carry over to MANO"
    assert said in write_report(view([trial()], reports={"objects": {"hand": "stand-in"}}))
    assert said in write_report(
        view([trial()], reports={"objects": {"lines": ["made with the stand-in hand x"]}})
    )
    assert said not in write_report(view([trial()], reports={"objects": {"hand": "mano"}}))


def test_the_plan_s_digests_and_the_command_are_there_to_repeat_it(page: str) -> None:
    seen = text_of(section(page, "again"))
    assert f"data digest {DIGEST}" in seen and "code c0dec0dec0dec0de" in seen and "torch 2.9.0" in seen
    assert seen.count("sweeps/codebook_size.py --data s3://bucket/world --split all --seeds 3") == 1


def test_marks_of_one_configuration_belong_together(whole: SweepView, page: str) -> None:
    best = whole.points["objects"][0]
    parts = Counter(
        name
        for name in ("leaderboard", "map", "parallel", "curves", "front", "cluster")
        if f'data-t="{best.number}"' in section(page, name)
    )
    assert len(parts) == 6
    assert len(re.findall(f'data-t="{best.number}"', section(page, "cluster"))) == len(best.trials) == 3


def test_rulers() -> None:
    assert [label for _, label in Ruler.over([1, 2, 1024], few=True).ticks()] == ["1", "2", "1024"]
    log = Ruler.over([10.0, 1000.0], log=True)
    assert (log.at(10), log.at(100), log.at(1000)) == (0, pytest.approx(0.5), 1)
    assert log.at(5) == 0 and log.at(5000) == 1  # held at the ends
    assert Ruler.over([1.0, 3.0], reverse=True).at(1.0) == 1
    assert all(float(label) == int(label) for _, label in Ruler.over([1, 2]).ticks())
    assert Ruler.over([math.nan, 2.0, 2.0]).at(2.0) == pytest.approx(0.5)
    assert Ruler.over([True, False, "x"]).ticks()[0][1] == "False"


def test_a_view_is_read_from_a_ledger_alone(tmp_path: Path) -> None:
    plan = SweepPlan(
        name="made-up",
        data="s3://bucket/world",
        data_name="world",
        data_digest=DIGEST,
        settings=("objects", "actions"),
        axes=AXES,
        objectives=(MPJPE, PARAMETERS),
        trials=16,
        epochs=EPOCHS,
        seeds=1,
        seed=0,
        workers="1",
        protocol="first",
    )
    store = open_store(f"file://{tmp_path}")
    ledger = Ledger(store, plan.name, "driver")
    ledger.plan(plan.record())
    entry = {"stage": "codebook", "epoch": 1, "epochs": 1, "loss": 0.5, "codebook_perplexity": 77.0}
    records = [
        with_figures(trial(history=[entry]), mpjpe_cm=4.321),
        trial(codes=128, status="stopped", epochs=3),
    ]
    for record in records:
        ledger.started(record.identity, record.setting, record.phase, record.params, 1)
        ledger.ended(record)
    ledger.note(
        "session", slots=2, device="cpu", workers="1", usd_per_hour=None, command="sweeps/joint.py --data D"
    )
    ledger.published("objects", {"hand": "mano", "lines": ["Registered: nothing"]})
    made = view_of(Ledger(store, plan.name), plan)
    assert list(made.settings) == ["objects", "actions"] and made.settings["actions"] == []
    assert [(t.status, t.mpjpe_cm, len(t.history)) for t in made.settings["objects"]] == [
        ("finished", 4.321, 1),
        ("stopped", 5.0, 0),
    ]
    assert made.objectives == (MPJPE, PARAMETERS) and made.fields == ["codes", "decoder_depth"]
    seen = text_of(write_report(made))
    assert (
        "4.32" in seen
        and "77.0" in seen
        and "sweeps/joint.py --data D" in seen
        and "Registered: nothing" in seen
    )


@pytest.mark.slow
def test_a_thousand_trials_make_a_page_below_three_megabytes() -> None:
    axes = (Axis("codes", "choice", choices=tuple(range(64, 64 + 16 * 64, 16))), AXES[1])
    made = made_up_sweep(axes=axes, slots=16)
    assert len(made.trials) > 1000
    large = write_report(made)
    assert len(large.encode()) < 3_000_000
    assert "more; another 40 are not in this page" in text_of(section(large, "leaderboard"))
