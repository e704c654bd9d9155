"""The viewer's page in headless Chromium: it draws, plays and obeys, says nothing to the console and asks for nothing."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium, page
from tests.viewer_clips import CAMERA_K, viewer_clips
from zoo.viewer import ViewerClip, clip_payload, viewer_page

FRAMES = 12
BACKGROUND = (0xF1, 0xEF, 0xEA)  # of the light view


@pytest.fixture(scope="module")
def clips() -> tuple[list[ViewerClip], np.ndarray]:
    return viewer_clips(3, frames=FRAMES)


@pytest.fixture(scope="module")
def place(clips: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "page.html"
    path.write_text(viewer_page(*clips, title="Three <i>clips</i>"), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def drawn(shown: Page) -> None:
    shown.wait_for_selector("[data-drawn]")


def at_frame(shown: Page, number: int) -> None:
    expect(shown.locator(".readout")).to_contain_text(f"frame {number} of {FRAMES} ")


def picture(shown: Page) -> np.ndarray:
    """The three-dimensional view as it is on the screen, without the buttons over it: (H, W, 3)."""
    hide = "(value) => document.querySelectorAll('.parts, .legend, .views').forEach(e => e.style.visibility = value)"
    shown.evaluate(hide, "hidden")
    png = shown.locator(".box canvas").screenshot()
    shown.evaluate(hide, "")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def next_picture(shown: Page, before: np.ndarray) -> np.ndarray:
    """The first picture that is another one; a busy machine draws late."""
    for _ in range(100):
        after = picture(shown)
        if np.abs(after - before).max() > 20:
            return after
        shown.wait_for_timeout(50)
    raise AssertionError("the picture stayed the same")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_loads_plays_scrubs_and_switches(browser: Browser, place: Path, width: int, dark: bool) -> None:
    with page(browser, place, width=width, height=844, dark=dark, touch=width == 390) as shown:
        drawn(shown)
        expect(shown.get_by_role("heading", level=1)).to_have_text("Three <i>clips</i>")
        before = shown.locator(".readout").inner_text()
        shown.wait_for_function(
            "before => document.querySelector('.readout').textContent !== before", arg=before
        )
        shown.get_by_role("button", name="Pause").click()
        shown.get_by_role("slider", name="Frame").fill("6")
        at_frame(shown, 7)
        middle = picture(shown)
        shown.get_by_role("button", name="Next frame").click()
        at_frame(shown, 8)
        next_picture(shown, middle)
        shown.get_by_role("button", name="clip 2").click()
        expect(shown.get_by_role("heading", level=2, name="clip 2")).to_be_visible()
        at_frame(shown, 1)
        expect(shown.get_by_role("row", name="MPJPE (cm)")).to_contain_text("2.346")
        light = np.array(
            re.findall(r"\d+", shown.evaluate("getComputedStyle(document.body).backgroundColor")), int
        )
        assert (light.mean() < 80) == dark
        assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_does_all_of_it(browser: Browser, place: Path) -> None:
    with page(browser, place, reduced_motion=True) as shown:
        drawn(shown)
        for key, number in (
            ("End", 12),
            ("ArrowLeft", 11),
            (",", 10),
            (".", 11),
            ("ArrowRight", 12),
            ("Home", 1),
        ):
            shown.keyboard.press(key)
            at_frame(shown, number)
        shown.keyboard.press("ArrowLeft")  # around the end
        at_frame(shown, 12)
        before = picture(shown)
        for key in ("Shift+ArrowRight", "Shift+ArrowUp", "+", "-", "w", "a", "g", "p", "o", "l", "c", "t"):
            shown.keyboard.press(key)
            before = next_picture(shown, before)
        shown.keyboard.press("]")
        expect(shown.get_by_role("heading", level=2)).to_have_text("clip 1")
        shown.keyboard.press("[")
        shown.keyboard.press("ArrowUp")
        expect(shown.get_by_role("heading", level=2)).to_have_text("clip 2")
        shown.keyboard.press(">")
        expect(shown.get_by_role("combobox", name="Speed")).to_have_value("1.5")
        shown.keyboard.press("?")
        expect(shown.get_by_role("dialog")).to_be_visible()
        shown.keyboard.press("Escape")
        expect(shown.get_by_role("dialog")).to_be_hidden()
        # The browser takes the focus from the dialog's button with the next picture, and no person is faster.
        shown.wait_for_function("() => document.activeElement === document.body")
        expect(shown.get_by_role("button", name="Play")).to_be_visible()
        shown.keyboard.press("Space")
        expect(shown.get_by_role("button", name="Pause")).to_be_visible()


def test_plays_at_the_speed_it_was_told(browser: Browser, place: Path) -> None:
    with page(browser, place, reduced_motion=True) as shown:
        drawn(shown)
        shown.clock.install(time=0)
        shown.clock.pause_at(1000)
        for speed, frames in (("0.25", {2}), ("1", {6, 7}), ("2", {12})):
            shown.keyboard.press("Home")
            shown.get_by_role("combobox", name="Speed").select_option(speed)
            shown.get_by_role("button", name="Play").click()
            shown.clock.run_for(208)
            shown.get_by_role("button", name="Pause").click()
            found = re.match(r"frame (\d+) of", shown.locator(".readout").inner_text())
            assert found and int(found[1]) in frames, speed


def test_less_motion_is_respected(browser: Browser, place: Path) -> None:
    with page(browser, place, reduced_motion=True) as shown:
        drawn(shown)
        shown.wait_for_timeout(300)
        at_frame(shown, 1)
        expect(shown.get_by_role("button", name="Play")).to_be_visible()


def test_an_address_names_a_clip(browser: Browser, place: Path) -> None:
    with page(browser, f"{place.as_uri()}#3", reduced_motion=True) as shown:
        drawn(shown)
        expect(shown.get_by_role("heading", level=2)).to_have_text("clip 2")


def test_the_hand_is_drawn_where_the_camera_saw_it_and_coloured_by_contact(
    browser: Browser, clips: Any, tmp_path: Path
) -> None:
    """From the photo's place, the hand's outline is that of its vertices projected with the photo's intrinsics."""
    bare = {
        "truth_vertices_m": None,
        "truth_joints_m": None,
        "contact_point_m": None,
        "object_vertices_m": None,
    }
    contact = np.zeros((FRAMES, 778))
    contact[-1] = 1
    clip = dataclasses.replace(clips[0][0], **bare, object_faces=None, contact_probability=contact)
    path = tmp_path / "one.html"
    path.write_text(viewer_page([clip], clips[1], title="one"), "utf-8")
    with page(browser, path, reduced_motion=True) as shown:
        drawn(shown)
        for key in ("c", "p", "l"):
            shown.keyboard.press(key)
        green = {}
        for frame, key in ((FRAMES - 1, "End"), (FRAMES - 2, "ArrowLeft")):
            shown.keyboard.press(key)
            at_frame(shown, frame + 1)
            seen = picture(shown)
            hand = np.abs(seen - BACKGROUND).max(axis=-1) > 12
            rows, columns = np.nonzero(hand)
            points = clip.vertices_m[frame] @ CAMERA_K.T
            pixels = points[:, :2] / points[:, 2:] - (320, 240)
            height, width = hand.shape
            pixels = pixels * min(width / 640, height / 480) + (width / 2, height / 2)
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(box - np.concatenate([pixels.min(0), pixels.max(0)])).max() < 2.5
            green[frame] = np.median(seen[hand], axis=0)[1]
        assert green[FRAMES - 2] > 130  # pale
        assert green[FRAMES - 1] < 60  # dark purple


def test_a_page_of_ones_own_can_hold_a_hand_view(browser: Browser, place: Path, clips: Any) -> None:
    """LatentAct.HandView by itself: what it unpacks is what Python packed, and it goes without a trace."""
    clip = clips[0][1]
    with page(browser, place, reduced_motion=True) as shown:
        drawn(shown)
        found = shown.evaluate(
            """async (clip) => {
                const box = document.body.appendChild(document.createElement("div"));
                box.style.cssText = "width: 200px; height: 150px";
                const { faces } = JSON.parse(document.getElementById("page-data").textContent);
                const frames = [];
                const view = new LatentAct.HandView(box, faces, { dark: true, onframe: (frame) => frames.push(frame) });
                await view.show(clip);
                view.seek(5);
                const vertices = Array.from(view.clip.vertices), contact = Array.from(view.clip.contact);
                const { frame, playing } = view;
                view.dispose();
                return { vertices, contact, frames, frame, playing, left: box.childElementCount };
            }""",
            clip_payload(clip),
        )
    assert np.abs(np.reshape(found["vertices"], clip.vertices_m.shape) - clip.vertices_m).max() < 2.6e-5
    assert np.abs(np.reshape(found["contact"], (FRAMES, 778)) / 255 - clip.contact_probability).max() < 0.002
    assert (found["frames"], found["frame"], found["playing"], found["left"]) == ([0, 5], 5, False, 0)


def test_text_of_clips_stays_text(browser: Browser, clips: Any, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)><!--"
    clip = dataclasses.replace(
        clips[0][0], title=hostile, text=hostile, note=hostile, figures={hostile: hostile}
    )
    path = tmp_path / "hostile.html"
    path.write_text(viewer_page([clip], clips[1], title=hostile), "utf-8")
    with page(browser, path, reduced_motion=True) as shown:
        drawn(shown)
        expect(shown.get_by_role("heading", level=2)).to_have_text(hostile)
        assert shown.title() == hostile
        assert shown.locator("img").count() == 1  # the photo


def test_without_webgl_the_page_says_so_and_keeps_its_figures(browser: Browser, place: Path) -> None:
    broken = """
        const old = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
            return kind.startsWith("webgl") ? null : old.call(this, kind, ...rest);
        };
    """
    with page(browser, place, script=broken) as shown:
        expect(shown.get_by_role("alert")).to_contain_text("cannot draw in three dimensions: no WebGL 2")
        expect(shown.get_by_role("row", name="contact F1")).to_contain_text("0.71")
        shown.get_by_role("button", name="clip 1").click()
        expect(shown.get_by_role("heading", level=2)).to_have_text("clip 1")


def test_a_click_on_the_photo_reads_a_pixel(browser: Browser, place: Path) -> None:
    with page(browser, place, reduced_motion=True) as shown:
        drawn(shown)
        frame = shown.locator(".frame")
        frame.scroll_into_view_if_needed()
        size = frame.bounding_box()
        assert size
        frame.click(position={"x": size["width"] / 2, "y": size["height"] / 4})
        found = re.search(r"--contact-pixel (\d+),(\d+)", shown.locator(".photo code").inner_text())
        assert found and abs(int(found[1]) - 320) <= 3 and abs(int(found[2]) - 120) <= 3


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<img src='http://127.0.0.1:9/a.png'>", "asked for http://127.0.0.1:9/a.png"),
        ("<script>console.error('oh')</script>", "console error: oh"),
        ("<script>throw new Error('oh')</script>", "exception: oh"),
    ],
)
def test_a_page_that_misbehaves_is_caught(
    browser: Browser, tmp_path: Path, body: str, complaint: str
) -> None:
    path = tmp_path / "bad.html"
    path.write_text(body)
    with pytest.raises(AssertionError, match=complaint), page(browser, path) as shown:
        shown.wait_for_timeout(200)
