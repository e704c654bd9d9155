"""The report's figures and charts: each is that of the records."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from sweeps.ledger import TrialRecord
from sweeps.report import write_report
from sweeps.report_chart import Ruler, few, thinned
from sweeps.report_codes import codebooks
from sweeps.report_cost import cost
from sweeps.report_curves import MOST_CURVES, curve_cards
from sweeps.report_front import front
from sweeps.report_heat import bands, heat_fields, heat_map
from sweeps.report_importance import LEAST, importance, why_not
from sweeps.report_sessions import idle_share, sessions
from sweeps.selection import params_key
from sweeps.space import Axis
from tests.made_up_sweep import (
    AXES,
    BEGAN_S,
    MPJPE,
    PARAMETERS,
    PLAN,
    identity,
    session,
    trial,
    view,
    with_figures,
)
from tests.report_page import section, text_of


def timed(begin: float, end: float, slot: str, **changes: Any) -> TrialRecord:
    return trial(began_s=BEGAN_S + begin, ended_s=BEGAN_S + end, slot=slot, seconds=end - begin, **changes)


def test_the_leaderboard_has_the_means_of_seeds_their_spread_and_intervals() -> None:
    trials = [
        with_figures(trial(seed=0), mpjpe_cm=5.1, contact_f1=0.60),
        with_figures(trial(seed=1), mpjpe_cm=5.5, contact_f1=0.70),
        with_figures(trial(codes=512), mpjpe_cm=4.9),
    ]
    spans: dict[str, dict[str, float | None]] = {
        t.identity: {"estimate": t.mpjpe_cm, "low": 4.0 + i, "high": 6.25} for i, t in enumerate(trials[:2])
    }
    spans[trials[2].identity] = {"estimate": 4.9, "low": None, "high": None}
    made = view(trials, reports={"objects": {"val": spans}})
    rows = section(write_report(made), "leaderboard").split("<tr data-t")[1:]
    first, second = (text_of("<tr" + row.split("</tr>")[0]) for row in rows)
    # Two seeds come before a single lucky one, and their figure is their mean.
    assert "256 2 5.30 0.28 seed 0: 4.00 to 6.25 seed 1: 5.00 to 6.25 0.650 1 M" in first
    assert "front 512 2 4.90 – 0.600 1 M" in second  # one seed, and no interval


def test_the_answer_is_the_verdict_s_sentence_and_marks_its_configurations() -> None:
    chosen, tied, other = trial(codes=128), trial(codes=256), trial(codes=512)
    reason = "128 codes, depth 2 is chosen: not significantly worse than the best."
    verdict = {"winner": params_key(chosen.params), "tied": [params_key(t.params) for t in (chosen, tied)], "tests": [],
               "reason": reason}  # fmt: skip
    made = view([chosen, tied, other], reports={"objects": {"verdict": verdict}}, objectives=(MPJPE,))
    seen = write_report(made)
    assert reason in seen.split('<div class="answers">')[1].split('<div class="numbers">')[0]
    badges = {
        row.split('data-told="')[1].split('"')[0]: re.findall(r'class="badge (\w+)"', row)
        for row in section(seen, "leaderboard").split("<tr ")[1:]
    }
    assert {label.split(" · ")[1]: badge for label, badge in badges.items()} == {
        "128 codes, depth 2": ["chosen"],
        "256 codes, depth 2": ["tied"],
        "512 codes, depth 2": [],
    }
    assert section(seen, "map").count('class="edge chosen"') == 1


def test_without_a_verdict_it_says_so_and_names_the_best_so_far() -> None:
    seen = text_of(
        write_report(
            view([with_figures(trial(), mpjpe_cm=5.3), trial(codes=128, status="stopped", epochs=2)])
        )
    )
    assert (
        "No verdict yet. The best of 1 finished so far is 256 codes, depth 2 with 5.30 cm (one seed)" in seen
    )


def test_the_map_shows_means_stops_failures_and_what_was_not_tried() -> None:
    trials = [
        with_figures(trial(seed=0), mpjpe_cm=5.0),
        with_figures(trial(seed=1), mpjpe_cm=5.2),
        with_figures(trial(codes=512), mpjpe_cm=4.8),
        with_figures(trial(codes=1024, status="stopped", epochs=3), mpjpe_cm=6.12),
        trial(codes=128, status="failed", metrics={}, reason="lost"),
    ]
    svg = str(heat_map(view(trials), "objects", ("codes", "decoder_depth")))
    assert re.findall(r'class="value[^"]*"[^>]*>([\d.]+)<', svg) == ["5.10", "4.80", "6.12"]
    assert ">2 seeds<" in svg and ">epoch 3<" in svg and ">failed<" in svg
    assert svg.count('class="hatched"') == 2 and svg.count('class="untried"') == 16 - 4
    # The better, the stronger.
    depth = dict(re.findall(r"(\d+) codes, depth 2 · [\d.]+ cm.*?fill-opacity=\"([\d.]+)\"", svg))
    assert float(depth["512"]) > float(depth["256"])


def test_the_map_takes_the_most_important_fields_where_it_has_to_choose() -> None:
    axes = (
        Axis("width", "choice", choices=(32, 64)),
        Axis("heads", "choice", choices=(2, 4)),
        Axis("dropout", "float", 0.0, 0.5),
    )
    made = view([], axes=axes)
    assert heat_fields(made, {"heads": 0.7, "dropout": 0.2}) == ("heads", "dropout")
    assert heat_fields(replace(made, axes=AXES), {}) == ("codes", "decoder_depth")
    assert heat_fields(replace(made, axes=axes[:1]), {}) == ("width",)


def test_many_values_become_ranges_that_hold_them_all() -> None:
    tried = [64, 100, 101, 102, 257, 300, 410, 411, 653, 654, 1040]
    cut = bands(Axis("codes", "int", 64, 1040, log=True), tried)
    edges = [tuple(map(int, label.split("–"))) for label in cut.labels]
    assert all(edges[cut.index(value)][0] <= value <= edges[cut.index(value)][1] for value in tried)
    words = bands(Axis("method", "choice", choices=("a", "b")), ["b", "c"])
    assert words.labels == ["a", "b", "c"] and words.index("c") == 2


def test_importance_goes_to_the_field_that_matters() -> None:
    trials = [
        with_figures(
            trial(codes=codes, decoder_depth=depth), mpjpe_cm=4 + math.log2(codes / 128) + 0.01 * depth
        )
        for codes in (128, 256, 512, 1024)
        for depth in (1, 2, 3, 4)
    ]
    shares = importance(view(trials), "objects")
    assert next(iter(shares)) == "codes" and shares["codes"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    seen = text_of(section(write_report(view(trials)), "importance"))
    assert f"{shares['codes']:.1%}" in seen
    few_of_them = view(trials[: LEAST - 1])
    assert importance(few_of_them, "objects") == {}
    assert why_not(few_of_them, "objects").startswith(f"{LEAST - 1} finished configurations are too few")
    assert "One field alone" in why_not(replace(few_of_them, axes=AXES[:1]), "objects")


def test_curves_mark_where_trials_were_stopped_and_failed() -> None:
    trials = [
        trial(),
        trial(codes=128, status="stopped", epochs=2, curve=[(1, 7.0), (2, 6.5)]),
        trial(codes=512, status="failed", epochs=1, curve=[(1, 8.0)]),
        trial(codes=1024, status="failed", curve=[], metrics={}),
    ]
    (card,) = curve_cards(view(trials))
    svg = str(card.chart)
    assert (
        svg.count('class="curve ') == 3 and svg.count('class="end"') == 1 and svg.count('class="cross"') == 1
    )
    assert "128 codes, depth 2, seed 0 · 5.00 cm · stopped after epoch 2" in svg
    assert card.note == ""


def test_curves_are_thinned_and_the_page_says_so() -> None:
    trials = [trial(seed=seed, metrics={"mpjpe_cm": 5 + seed / 1000}) for seed in range(MOST_CURVES + 50)]
    (card,) = curve_cards(view(trials))
    assert str(card.chart).count('class="curve ') == MOST_CURVES
    assert card.note.startswith(f"{MOST_CURVES} of 1,250 curves")
    assert "seed 0 · 5.00 cm" in str(card.chart)  # the best stay
    assert few(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert thinned(list(range(100)), 10)[:2] == [0, 1] and len(thinned(list(range(100)), 10)) == 10


def test_the_front_is_what_none_other_beats() -> None:
    figures = [(5.0, 100), (4.5, 200), (4.6, 300), (5.0, 100), (6.0, 50), (math.nan, 1)]
    trials = [
        trial(codes=128 * (i + 1), metrics={"mpjpe_cm": mpjpe, "parameters": float(size)})
        for i, (mpjpe, size) in enumerate(figures)
    ]
    made = view(trials)
    found = front(made.points["objects"], (MPJPE, PARAMETERS))
    assert sorted((p.mean("mpjpe_cm"), p.mean("parameters")) for p in found) == [
        (4.5, 200),
        (5.0, 100),
        (5.0, 100),
        (6.0, 50),
    ]
    seen = section(write_report(made), "front")
    assert "4 configurations of 5 on the front" in text_of(seen) and seen.count('class="onfront"') == 4


def test_codebook_figures_are_those_of_the_kept_epoch() -> None:
    entries = [
        {
            "stage": "codebook",
            "epoch": e,
            "epochs": 3,
            "loss": 1.0,
            "val_loss": v,
            "codebook_perplexity": p,
            "live_codes": s,
        }
        for e, v, p, s in ((1, 0.9, 40.0, 0.5), (2, 0.4, 90.0, 0.75), (3, 0.6, 99.0, 0.9))
    ]
    trainer = trial(history=entries)
    rider = trial(decoder_depth=3, stage_seconds={"predictor": 8.0}, codebook=trainer.codebook)
    elsewhere = trial(codes=512, codebook=identity("other"))
    books = codebooks(view([trainer, rider, elsewhere]))
    assert [(b.codes, len(b.users), b.kept_epoch, b.perplexity, b.live) for b in books[:1]] == [
        (256, 2, 2, 90.0, 0.75)
    ]
    assert books[1].trainer is None and math.isnan(books[1].perplexity)
    seen = text_of(section(write_report(view([trainer, rider, elsewhere])), "codebooks"))
    assert (
        "256 90.0 0.75 – 2 of 3 2 objects: 256 codes, depth 2, seed 0" in seen and "not in this sweep" in seen
    )


def test_idle_time_is_counted_within_sessions_alone() -> None:
    trials = [
        timed(10, 110, "0"),
        timed(10, 60, "1", codes=128),  # 50 s idle after it
        timed(10000, 10040, "0", codes=512),  # alone in its session: the other place is idle for 40 s
    ]
    found = sessions(view(trials, notes=[session(0), session(9990)]))
    assert [(s.start_s, s.span_s, len(s.trials)) for s in found] == [(10, 100, 2), (10, 40, 1)]
    assert idle_share(found) == pytest.approx((50 + 40) / (200 + 80))
    seen = text_of(section(write_report(view(trials, notes=[session(0), session(9990)])), "cluster"))
    assert "32.1% idle" in seen and "2 sessions of 2 min 20 s in all" in seen
    # Two trials on one place at once do not make up for an idle one.
    shared = sessions(view([timed(0, 100, "0"), timed(0, 100, "0", codes=128)], notes=[session(0)]))
    assert idle_share(shared) == pytest.approx(0.5)


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


def test_rulers() -> None:
    assert [label for _, label in Ruler.over([1, 2, 1024], few=True).ticks()] == ["1", "2", "1024"]
    log = Ruler.over([10.0, 1000.0], log=True)
    assert (log.at(10), log.at(100), log.at(1000)) == (0, pytest.approx(0.5), 1)
    assert log.at(5) == 0 and log.at(5000) == 1  # held at the ends
    assert Ruler.over([1.0, 3.0], reverse=True).at(1.0) == 1
    assert all(float(label) == int(label) for _, label in Ruler.over([1, 2]).ticks())
    assert Ruler.over([math.nan, 2.0, 2.0]).at(2.0) == pytest.approx(0.5)
    assert Ruler.over([True, False, "x"]).ticks()[0][1] == "False"
