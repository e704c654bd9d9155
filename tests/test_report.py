"""The report as a page: it stands alone, is whole whatever is missing, and nothing in a name becomes code."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sweeps.ledger import Ledger
from sweeps.report import view_of, write_report
from sweeps.report_view import SweepView
from sweeps.selection import params_key
from sweeps.space import Axis
from tests.made_up_sweep import (
    AXES,
    BEGAN_S,
    DIGEST,
    MPJPE,
    PARAMETERS,
    PLAN,
    made_up_plan,
    made_up_sweep,
    session,
    trial,
    view,
    with_figures,
)
from tests.report_page import Seen, section, text_of
from zoo.store import open_store


@pytest.fixture(scope="module")
def whole() -> SweepView:
    return made_up_sweep()


@pytest.fixture(scope="module")
def page(whole: SweepView) -> str:
    return write_report(whole)


def test_the_page_stands_alone_and_is_whole(page: str) -> None:
    seen = Seen(page)
    assert seen.open == []
    for tag, attributes in seen.tags:
        assert "src" not in attributes and not (attributes.get("href") or "#").partition("#")[0], tag
        assert not [name for name in attributes if name.startswith("on")]
    names = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {a["href"][1:] for t, a in seen.tags if t == "a" and a["href"]} <= set(names)
    assert "http://" not in page and "https://" not in page and "@import" not in page
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) > 40
    for svg in drawn:
        ElementTree.fromstring(svg)
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", seen.text)


def test_the_policy_allows_the_page_s_own_script_alone(page: str) -> None:
    seen = Seen(page)
    assert len(seen.scripts) == 1
    policy = next(a["content"] for t, a in seen.tags if t == "meta" and "http-equiv" in a) or ""
    digest = base64.b64encode(hashlib.sha256(seen.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "script-src 'unsafe" not in policy


def test_every_part_is_there_in_light_and_dark(page: str) -> None:
    found = re.findall(r'<section id="(\w+)">', page)
    assert found == ["leaderboard", "map", "parallel", "importance", "curves", "front", "codebooks", "cluster", "cost",
                     "failures", "again", "words"]  # fmt: skip
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert "Which codebook size and decoder depth generalise best to novel actions, novel objects" in page


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


def test_a_view_is_read_from_a_ledger_alone(tmp_path: Path) -> None:
    plan = made_up_plan(settings=("objects", "actions"), seeds=1)
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
