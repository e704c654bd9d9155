"""A rater's whole way through a user study in Chromium: keyboard and touch, reload, lost connection, file at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from sweeps.study_store import read_database
from tests import study_folders as small
from tests.browser import chromium, page
from tests.study_process import serving

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.small_study(
        tmp_path_factory.mktemp("study"), "--ties", "--pairs", 4, "--checks", 1, "--repeats", 1
    )


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    """The same study without an answer."""
    copy = tmp_path / "study"
    copy.mkdir()
    for name in ("design.json", "key.json"):
        (copy / name).write_bytes((built / name).read_bytes())
    (copy / "public").symlink_to(built / "public")
    return copy


def shown(rater: Page, position: int) -> dict[str, str]:
    """Waits for a screen, and says which pair and which left motion it is to show."""
    rater.wait_for_selector(f"#trial[data-screen='{position}']")
    key = next(name for name in storage(rater) if name.startswith("latentact-study-"))
    slot = json.loads(storage(rater)[key])["slot"]
    index, left = rater.evaluate("([slot, i]) => LATENTACT_STUDY.slots[slot][i]", [slot, position])
    pair = rater.evaluate("(i) => LATENTACT_STUDY.pairs[i]", index)
    return {"pair": pair["id"], "left": pair["motions"][left]}


def storage(rater: Page) -> dict[str, str]:
    return rater.evaluate("() => ({...localStorage})")


def may_answer(rater: Page) -> None:
    rater.wait_for_selector("#choose-left:not([disabled])")


@pytest.mark.slow
def test_by_keyboard_with_a_reload_and_a_lost_connection(browser: Browser, study: Path) -> None:
    design, _ = small.read(study)
    keys = ["ArrowLeft", "ArrowRight", "ArrowDown"]
    lost = ["ERR_INTERNET_DISCONNECTED"]
    with serving(study) as server, page(browser, server.url, allowed=[server.url], forgiven=lost) as rater:
        rater.get_by_role("button", name="I agree, begin").click()
        expected = []
        for position in range(design.screens):
            told = shown(rater, position)
            assert rater.locator("#count").inner_text() == f"{position + 1} of {design.screens}"
            assert rater.locator("#text").inner_text().startswith("“push ")
            if position == 0:  # nothing is taken before both motions were seen to the end
                rater.keyboard.press("ArrowLeft")
                assert rater.locator("#trial").get_attribute("data-screen") == "0"
                assert rater.locator("#choose-left").is_disabled()
            if position == 2:
                rater.reload()
                assert shown(rater, 2) == told
            if position == 4:
                may_answer(rater)  # the next pair has been loaded meanwhile
                rater.context.set_offline(True)
            may_answer(rater)
            if position == 3:  # a space plays again and answers nothing
                rater.keyboard.press("Space")
                rater.keyboard.press("Space")
            rater.keyboard.press(keys[position % 3])
            expected.append(told | {"choice": ["left", "right", "same"][position % 3]})
            if position == 4:
                rater.get_by_text("there is no connection").wait_for()
                assert "1 of your answers wait" in rater.locator("#sent").inner_text()
                rater.context.set_offline(False)
        rater.wait_for_selector("#done[data-unsent='0']")
        assert "have arrived" in rater.locator("#done-text").inner_text()
        kept = sorted(read_database(study / "votes.sqlite", design), key=lambda vote: vote.position)
        assert [
            {name: getattr(vote, name) for name in ("pair", "left", "choice")} for vote in kept
        ] == expected
        assert all(vote.plays >= 1 and 250 < vote.answer_ms < 600_000 for vote in kept)
        assert len({vote.rater for vote in kept}) == 1
        # And another person on the same device is another rater.
        rater.get_by_role("button", name="Another person").click()
        rater.get_by_role("button", name="I agree, begin").click()
        shown(rater, 0)
        assert json.loads(server.get("api/progress")[1])["raters"] == 2
    result = small.run("analyse", study)
    assert result.exit_code == 0 and "1 rater answered" in result.stdout


@pytest.mark.slow
def test_from_a_disk_by_touch_with_a_file_at_the_end(browser: Browser, study: Path, tmp_path: Path) -> None:
    design, _ = small.read(study)
    index = (study / "public").resolve() / "index.html"
    allowed = [index.parent.as_uri() + "/"]
    with page(browser, index, width=390, height=844, dark=True, touch=True, allowed=allowed) as rater:
        rater.get_by_role("button", name="I agree, begin").tap()
        for position in range(design.screens):
            shown(rater, position)
            assert rater.evaluate("document.documentElement.scrollWidth") == 390
            assert rater.locator("#choose-right").bounding_box()["y"] < 844 - 44  # all of it on one screen
            may_answer(rater)
            rater.locator("#choose-right" if position % 2 else "#choose-left").tap()
        rater.wait_for_selector("#done")
        with rater.expect_download() as download:
            rater.get_by_role("button", name="Save my answers").tap()
        saved = tmp_path / "saved.json"
        download.value.save_as(saved)
    assert len(json.loads(saved.read_text())["votes"]) == design.screens
    assert "1 rater answered, 1 finished" in small.run("analyse", study, saved).stdout


def test_both_hands_are_drawn_move_together_and_are_the_right_ones(browser: Browser, study: Path) -> None:
    with serving(study) as server, page(browser, server.url, allowed=[server.url]) as rater:
        rater.get_by_role("button", name="I agree, begin").click()
        shown(rater, 0)
        may_answer(rater)
        first = [rater.locator(f"#{side}").screenshot() for side in ("left", "right")]
        assert first[0] != first[1] and min(map(len, first)) > 1500  # neither is an empty box
        box = rater.locator("#left").bounding_box()
        before = rater.locator("#right").screenshot()
        rater.mouse.move(box["x"] + 100, box["y"] + 100)
        rater.mouse.down()
        rater.mouse.move(box["x"] + 200, box["y"] + 140, steps=4)
        rater.mouse.up()
        assert rater.locator("#right").screenshot() != before


@pytest.mark.slow
def test_a_server_that_is_away_is_said_and_tried_again(browser: Browser, study: Path) -> None:
    away = ["status of 503"]
    with serving(study) as server, page(browser, server.url, allowed=[server.url], forgiven=away) as rater:
        calls: list[str] = []
        rater.route(
            "**/api/raters", lambda route: (calls.append("x"), route.fulfill(status=503, body="{}"))[1]
        )
        rater.get_by_role("button", name="I agree, begin").click()
        rater.wait_for_selector("#about-problem:not([hidden])")
        assert "503" in rater.locator("#about-problem").inner_text() and calls
        rater.unroute("**/api/raters")
        rater.get_by_role("button", name="I agree, begin").click()
        shown(rater, 0)
