"""The pictures of README and docs, taken from what `make sweep` has left here: `make pictures`.

    python -m tests.pictures [FOLDER]    # docs/pictures

It needs the running stack with its model and data, and Chromium. The pages are made by the commands that the README names,
and opened as a reader would open them; a page that asks for anything else ends this with an error.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import mlflow
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser import chromium, page
from tests.study_process import serving
from trainables.clips import read_clips
from trainables.render import FOCAL_PX, IMAGE_SIZE
from trainables.splits import part_clips
from zoo.settings import environment, home

MODEL, SETTING = "latentact-world-objects@champion", "objects"
PHOTO_PX = 512
COLOURS = 256


def run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    click.echo(f"python -m {' '.join(words)}")
    subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)


def first_photo(data: Path, place: Path) -> tuple[str, str]:
    """Write the first picture of a clip that begins with a contact point; its text and that point as X,Y,Z."""
    clips = read_clips(str(data))
    for clip in part_clips(clips, SETTING, "val").tolist():
        frame = int(clips.offsets_C1[clip])
        image = int(clips.image_F[frame])
        if image >= 0 and bool(clips.point_known_F[frame]):
            pixels = clips.images_I[image].numpy()
            Image.fromarray(pixels).resize((PHOTO_PX, PHOTO_PX), Image.Resampling.BICUBIC).save(place)
            return clips.texts[int(clips.text_F[frame])], ",".join(
                f"{x:.3f}" for x in clips.point_F3[frame].tolist()
            )
    raise SystemExit(f"{data}: no validation clip of {SETTING} begins in contact")


def small(picture: Path) -> None:
    """Few colours make a page's picture a fraction of its size."""
    with Image.open(picture) as opened:
        opened.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    click.echo(f"{picture}  {picture.stat().st_size / 1e3:.0f} kB")


def take(
    browser: Browser,
    place: Path | str,
    picture: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    allowed: tuple[str, ...] = (),
    forgiven: tuple[str, ...] = (),
    then: Callable[[Page], None] = lambda shown: None,
) -> None:
    """Open a page, let `then` do what a reader would, and keep what the window shows."""
    with page(
        browser, place, width=width, height=height, dark=dark, allowed=allowed, forgiven=forgiven
    ) as shown:
        then(shown)
        shown.wait_for_timeout(2000)
        shown.screenshot(path=picture)
    small(picture)


def at_frame(frame: int) -> Callable[[Page], None]:
    def seek(shown: Page) -> None:
        scrub = shown.locator(".scrub").first
        scrub.wait_for()
        scrub.fill(str(frame))

    return seek


def begin_study(shown: Page) -> None:
    shown.get_by_role("button", name="I agree, begin").click()
    shown.locator("#choose-left").wait_for()
    shown.wait_for_timeout(4000)


def card_page(tracking: str) -> str:
    """Address of the newest card in MLflow."""
    client = mlflow.MlflowClient(tracking_uri=tracking)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for found in client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=500):
        if any(file.path == "card.html" for file in client.list_artifacts(found.info.run_id)):
            return f"{tracking}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}/artifacts/card.html"
    raise SystemExit(f"{tracking} has no card of a model: make sweep")


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path), default="docs/pictures")
def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = home() / "data" / "world"
    reports = sorted((home() / "reports").glob("*.html"), key=lambda report: report.stat().st_mtime)
    if not reports or not data.is_dir():
        raise SystemExit(f"{home()} has no sweep with a report: make sweep")
    tracking = environment()["MLFLOW_TRACKING_URI"]
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        scratch = Path(name)
        text, contact = first_photo(data, scratch / "photo.png")
        half_px = PHOTO_PX / 2
        focal_px = FOCAL_PX * PHOTO_PX / IMAGE_SIZE
        run("zoo", "predict", MODEL, "--image", scratch / "photo.png", "--text", text, f"--contact={contact}",
            "--camera", f"{focal_px},{focal_px},{half_px},{half_px}", "--out", scratch / "one")  # fmt: skip
        (scratch / "one" / "trajectory.gif").replace(folder / "predict.gif")
        run(
            "zoo",
            "predict",
            MODEL,
            "--data",
            data,
            "--part",
            "val",
            "--limit",
            "8",
            "--out",
            scratch / "validation clips",
        )
        run("zoo", "card", MODEL, "--html", scratch / "card.html")
        run("sweeps.codes", MODEL, "--data", data, "--out", scratch / "codes.html")
        run("sweeps.study", MODEL, "truth", "--data", data, "--split", SETTING, "--pairs", "6", "--out", scratch / "study")  # fmt: skip

        viewer = scratch / "validation clips" / "viewer.html"
        take(browser, viewer, folder / "viewer.png", then=at_frame(14))
        take(
            browser, viewer, folder / "viewer-phone.png", width=390, height=844, dark=True, then=at_frame(14)
        )
        take(browser, scratch / "card.html", folder / "card.png", height=1400)
        take(browser, scratch / "codes.html", folder / "codes.png")
        take(browser, reports[-1], folder / "report.png", height=1400)
        with serving(scratch / "study") as server:
            take(browser, server.url, folder / "study.png", allowed=(server.url,), then=begin_study)
        # MLflow's own page, whose console is not ours.
        take(browser, card_page(tracking), folder / "mlflow.png", allowed=(tracking,), forgiven=("",))


if __name__ == "__main__":
    main()
