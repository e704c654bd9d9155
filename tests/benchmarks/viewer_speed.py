"""The viewer of 8 clips (778 vertices, 30 frames, truth, object and photo) in headless Chromium, WebGL in software.

    python -m tests.benchmarks.viewer_speed

Measures the file's size, the time from navigation to the first frame on the screen (each load in a new context of a
running browser), and frames shown a second while it plays at 1x. Limits: 5 MB, 1 s, 30 frames a second. Figures in
docs/look.md are from two cores without a GPU.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser import chromium, page
from tests.viewer_clips import viewer_clips
from zoo.viewer import viewer_page

LOADS = 9
PLAY_S = 3
LIMITS = {"size (MB)": 5.0, "first frame (s)": 1.0}

FRAMES_SHOWN = """async (seconds) => {
    const readout = document.querySelector(".readout");
    let frames = 0;
    const watch = new MutationObserver(() => frames++);
    watch.observe(readout, { childList: true });
    const start = performance.now();
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return frames / ((performance.now() - start) / 1000);
}"""


def spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def first_frames_s(browser: Browser, path: Path, width: int) -> list[float]:
    times = []
    for _ in range(LOADS):
        with page(browser, path, width=width) as shown:
            shown.wait_for_selector("[data-drawn]")
            times.append(shown.evaluate("performance.getEntriesByName('hand-drawn')[0].startTime") / 1000)
    return times


def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    clips, faces = viewer_clips(8)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "viewer.html"
        path.write_text(viewer_page(clips, faces, title="8 clips"), "utf-8")
        size = path.stat().st_size / 1e6
        print(f"size: {size:.2f} MB, {size / LIMITS['size (MB)']:.2f} of the limit")
        for width in (1280, 390):
            times = first_frames_s(browser, path, width)
            share = statistics.median(times) / LIMITS["first frame (s)"]
            print(
                f"first frame at {width} px: {spread(times, 2)} s, {share:.2f} of the limit ({LOADS} loads)"
            )
            with page(browser, path, width=width) as shown:
                shown.wait_for_selector("[data-drawn]")
                rates = [shown.evaluate(FRAMES_SHOWN, PLAY_S) for _ in range(3)]
                print(f"frames shown a second at {width} px, 1x: {spread(rates, 1)}, of 30")


if __name__ == "__main__":
    main()
