"""`zoo card --html`: a page that keeps to itself, whatever stands in the bundle, with the gallery where it can be drawn."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import zoo
from sweeps.mlflow_view import rebuild
from tests.browser import chromium, page
from tests.card_bundles import NAME, Made, make
from tests.mlflow_server import MlflowServer
from tests.shown_sweep import Driver
from zoo.card_html import card_html, folder_html
from zoo.card_markdown import render_markdown
from zoo.cli import main
from zoo.errors import GalleryError
from zoo.store import Store


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def ours(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.bundle(tmp_path_factory.mktemp("ours") / "bundle", ours=True)


@pytest.fixture(scope="module")
def apart(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.bundle(tmp_path_factory.mktemp("apart") / "bundle", ours=False)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return zoo.open_store()


def test_the_page_has_figures_with_intervals_the_card_and_its_pictures(ours: Path, tmp_path: Path) -> None:
    shutil.copytree(ours, tmp_path / "bundle")
    metrics = json.loads((ours / "metrics.json").read_text())
    metrics["test"]["metrics"]["mpjpe_cm"] |= {"estimate": 4.321, "low": 3.9, "high": 5.012}
    (tmp_path / "bundle" / "metrics.json").write_text(json.dumps(metrics))
    text = folder_html(tmp_path / "bundle", f"{NAME}@1", aliases=["champion"])
    assert "<b>4.32</b>test MPJPE, cm<i>95%: 3.90 to 5.01</i>" in text  # at the top
    assert ">4.32 (3.90 to 5.01)</text>" in text  # in the chart
    assert "no interval" in text and '<span class="badge">champion</span>' in text
    assert text.count("data:image/svg+xml;base64,") == 2  # learning curve and trajectories
    assert "figures do not carry over to MANO" in text
    assert text.count("<iframe") == 1 and 'sandbox="allow-scripts"' in text
    assert len(text) < 5_000_000


def test_without_the_motion_the_page_names_the_clips_and_says_who_can_draw_them(
    made: Made, apart: Path
) -> None:
    text = folder_html(apart, f"{NAME}@1")
    assert "<iframe" not in text and "--html FILE --data CLIPS" in text
    for entry in made.metrics["gallery"]["shown"]:
        assert f"<td>{entry['clip']}</td>" in text


def test_the_command_writes_the_page_of_a_published_model(
    made: Made, apart: Path, store: Store, tmp_path: Path
) -> None:
    zoo.promote(NAME, zoo.publish(NAME, apart).version)
    file = tmp_path / "card.html"
    done = CliRunner().invoke(main, ["card", NAME, "--html", str(file), "--data", str(made.data)])
    assert done.exit_code == 0, done.output
    text = file.read_text()
    assert f"<h1>{NAME}@1" in text and "champion" in text and "<iframe" in text
    assert list(tmp_path.glob(".card*")) == []
    done = CliRunner().invoke(main, ["card", NAME, "--data", str(made.data)])
    assert done.exit_code == 2 and "give --html FILE too" in done.output
    done = CliRunner().invoke(main, ["card", NAME, "--html", str(tmp_path / "no" / "card.html")])
    assert done.exit_code == 2 and "make it first" in done.output


def test_a_bundle_from_before_there_were_galleries(
    made: Made, apart: Path, store: Store, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(apart, old)
    (old / "gallery.json").unlink()
    zoo.publish(NAME, old)
    text = card_html(f"{NAME}@1")
    assert 'id="gallery"' not in text and "<h1>" in text
    with pytest.raises(GalleryError, match="before there were galleries"):
        card_html(f"{NAME}@1", data=str(made.data))


def test_mlflow_has_the_page_beside_the_settings_run_and_gets_it_again_from_the_bundle(
    ours: Path, mlflow: MlflowServer, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    driver = Driver(tmp_path / "store", None, name="cards", data_name="cards")
    best = driver.run(256)
    version = zoo.publish(NAME, ours, store=driver.store).version
    driver.ledger.published("objects", {"identity": best.identity, "lines": [], "model": f"{NAME}@{version}"})
    made = rebuild(driver.store, "cards", mlflow.uri, log=lambda line: None)
    assert made.files == 2  # the report, and this
    client = MlflowClient(tracking_uri=mlflow.uri)
    experiment = client.get_experiment_by_name("latentact-cards")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`latentact.key` = 'objects'")
    path = client.download_artifacts(run.info.run_id, "card.html", str(tmp_path))
    # Not a letter is taken for a secret, or the script would not be the one that the page's policy allows.
    assert Path(path).read_text() == folder_html(ours, f"{NAME}@{version}")
    assert rebuild(driver.store, "cards", mlflow.uri, log=lambda line: None).files == 0


def test_what_stands_in_a_card_does_not_act(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    shutil.copy(ours / "figures" / "learning_curve.svg", tmp_path / "figures")
    (tmp_path / "figures" / "bad.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    html = render_markdown(
        "# A\n\n<img src=x onerror=alert(1)>\n\n![in](figures/learning_curve.svg) ![out](https://a.example/x.png) "
        "![up](../secret.svg) ![bad](figures/bad.svg)\n\n[site](https://a.example) [code](javascript:alert(1)) [file](../x)\n\n"
        "| a | b |\n| --- | ---: |\n| `<b>` | 2 |\n",
        tmp_path,
    )
    assert html.count("<img") == 1 and html.count("data:image/svg+xml;base64,") == 1
    assert "&lt;img src=x" in html and "javascript" not in re.sub(
        r"\[code\]\(javascript:alert\(1\)\)", "", html
    )
    assert html.count("href=") == 1 and 'rel="noopener noreferrer"' in html
    assert "style=" not in html and '<td class="n">2</td>' in html and "<h2>A</h2>" in html
    for words in ("[picture: out]", "[picture: up]", "[picture: bad]"):
        assert words in html


def test_names_of_clips_are_text(made: Made, ours: Path, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>\"'&lt;"
    shutil.copytree(ours, tmp_path / "bundle")
    record = json.loads((ours / "gallery.json").read_text())
    record["shown"][0] |= {"clip": hostile, "group": hostile, "text": hostile}
    (tmp_path / "bundle" / "gallery.json").write_text(json.dumps(record))
    (tmp_path / "card.html").write_text(folder_html(tmp_path / "bundle", f"{NAME}@1"))
    with chromium() as browser, page(browser, tmp_path / "card.html") as shown:
        assert hostile in shown.locator("#gallery td").all_inner_texts()
        shown.locator("iframe").scroll_into_view_if_needed()
        assert hostile in shown.frame_locator("iframe").locator("body").inner_text()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser_the_gallery_plays_and_nothing_leaves_the_page(
    made: Made, ours: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    (tmp_path / "card.html").write_text(folder_html(ours, f"{NAME}@1"))
    with chromium() as browser, page(browser, tmp_path / "card.html", width=width, dark=dark) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert shown.evaluate("scrollY") == 0
        assert shown.locator("#figures svg").count() == 2
        assert all(shown.evaluate("[...document.images].map((image) => image.naturalWidth > 0)"))
        shown.locator("iframe").scroll_into_view_if_needed()
        inner = shown.frame_locator("iframe")
        inner.locator("canvas").first.wait_for()
        first = made.metrics["gallery"]["shown"][0]["clip"]
        assert first in inner.locator("body").inner_text()
        inner.get_by_text("worst:").first.click()
        inner.get_by_role("heading", name="worst:").wait_for()
