"""The report: its numbers are those of the records, it stands alone, and nothing in a name becomes code."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from made_up_sweep import AXES, BEGAN_S, identity, made_up_sweep, trial, view

from sweeps.ledger import TrialRecord
from sweeps.report import write_report
from sweeps.report_codes import codebooks
from sweeps.report_curves import MOST_CURVES, curve_cards, few, thinned
from sweeps.report_front import front
from sweeps.report_heat import bands, heat_fields, heat_map
from sweeps.report_importance import LEAST, importance, why_not
from sweeps.report_sessions import idle_share, sessions
from sweeps.report_view import SweepView
from sweeps.selection import params_key
from sweeps.space import OBJECTIVES, Axis

MPJPE, PARAMETERS = OBJECTIVES["mpjpe_cm"], OBJECTIVES["parameters"]


class Seen(HTMLParser):
    """What a browser would find: tags with their attributes, scripts, and the text that is shown."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.shown: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another tag"

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.shown.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.shown))


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


def text_of(part: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", part)))


def with_figures(record: TrialRecord, **figures: float) -> TrialRecord:
    record.metrics = {**record.metrics, **figures}
    return record


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


def timed(begin: float, end: float, slot: str, **changes: Any) -> TrialRecord:
    return trial(began_s=BEGAN_S + begin, ended_s=BEGAN_S + end, slot=slot, seconds=end - begin, **changes)


def session(at: float, **facts: Any) -> dict[str, Any]:
    return {"kind": "session", "at_s": BEGAN_S + at, "slots": 2, "device": "cuda", "workers": "1", **facts}


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
