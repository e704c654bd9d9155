"""The validator: every planted fault is found, a clean set has none, and the page stands alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from made_up_clips import random_clip, write
from planted_clips import FAULTS, HAND, NAMED, clean_clips, hand_clip, put

from trainables.clip_table import to_table
from trainables.clips import Clip, read_manifest, write_clips
from trainables.hand_picture import draw_mesh, is_closed, square_around
from trainables.inspect import look_over, main
from trainables.inspect_charts import histogram, nice_ticks
from trainables.inspect_figures import gather
from trainables.inspect_findings import Finding
from trainables.inspect_hand import HandCheck


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("clean") / "data", clean_clips())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bad = [made(hand_clip(name, 100 + i)) for i, (name, (_, made)) in enumerate(FAULTS.items())]
    dropped = {f"r{i}": "shorter than 30 frames without a jump" for i in range(3)} | {
        "x": "the file is damaged"
    }
    report = {"recordings": len(bad) + 28, "dropped": dropped}
    return put(tmp_path_factory.mktemp("planted") / "data", [*clean_clips(), *bad], report)


@pytest.fixture(scope="module")
def found(planted: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in look_over(planted)[3]}


@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_found(check: str, found: dict[str, Finding]) -> None:
    finding = found[check]
    assert finding.severity == FAULTS[check][0]
    assert NAMED.get(check, check) in [name for name, _ in finding.examples]
    assert not [name for name, _ in finding.examples if name.startswith("clean")]
    assert finding.field and finding.what and finding.remedy and finding.count >= len(finding.examples) > 0


def test_what_the_import_dropped_is_told_by_reason(found: dict[str, Finding]) -> None:
    finding = found["dropped at import"]
    assert finding.severity == "note" and finding.count == 4
    assert finding.examples[0] == ("shorter than 30 frames without a jump", "3 dropped")


def test_a_clean_set_has_no_error(clean: Path) -> None:
    _, hand, figures, findings = look_over(clean)
    assert hand is not None and len(figures) == 24
    assert [finding for finding in findings if finding.severity != "note"] == []
    assert figures.by_clip["joint_error_mm"].max() < 0.01 and figures.by_clip["centroid_off_mm"].max() < 0.01
    assert figures.sum("windows") == 24 * 16 and figures.contact_fingers["index"] == 24 * 23
    assert figures.contact_fingers["thumb"] == 0


def edited(clean: Path, tmp_path: Path, change: Callable[[dict], None]) -> dict[str, Finding]:
    """Findings of the clean set under a manifest that somebody has changed by hand."""
    manifest = read_manifest(clean)
    change(manifest)
    for shard in manifest["shards"]:
        (tmp_path / shard["file"]).write_bytes((clean / shard["file"]).read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return {finding.check: finding for finding in look_over(tmp_path)[3]}


@pytest.mark.parametrize(
    ("check", "severity", "named", "change"),
    [
        ("empty part", "error", "test", lambda m: m["settings"]["objects"]["parts"].update(test=[])),
        ("split overlap", "error", "mug", lambda m: m["settings"]["objects"]["parts"]["train"].append("mug")),
        ("absent group", "error", "fork", lambda m: m["settings"]["objects"]["parts"]["train"].append("fork")),
        ("share of a part", "note", "val", lambda m: m["settings"]["objects"]["parts"].update(train=["ball"], val=["mug", "box", "can"])),
        ("no setting", "warning", "", lambda m: m["settings"].clear()),
        ("counts", "error", "frames", lambda m: m["counts"].update(frames=25)),
        ("another hand model", "note", "", lambda m: m.update(hand="mano")),
    ],
)  # fmt: skip
def test_a_manifest_with_a_fault(
    check: str, severity: str, named: str, change: Callable[[dict], None], clean: Path, tmp_path: Path
) -> None:
    findings = edited(clean, tmp_path, change)
    assert findings[check].severity == severity
    assert not named or named in [name for name, _ in findings[check].examples]


def test_clips_without_a_frame_are_told_and_left_out() -> None:
    clips = clean_clips(3)
    names = [
        name for name, value in vars(clips[1]).items() if isinstance(value, np.ndarray) and name != "betas"
    ]
    nothing = replace(clips[1], **{name: getattr(clips[1], name)[:0] for name in names})
    figures = gather([to_table([clips[0], nothing, clips[2]])], 90, HandCheck(HAND), 30, "here")
    assert figures.empty == ["clean-01"] and figures.ids == ["clean-00", "clean-02"]
    assert figures.by_clip["frames"].tolist() == [45, 45]


def test_windows_are_those_of_the_reader(tmp_path: Path) -> None:
    from trainables.clips import read_clips
    from trainables.windows import Windows

    rates = (30.0, 17.0, 24.0, 60.0, 29.97)
    clips = [hand_clip(f"clip-{i}", i, 70, fps=fps) for i, fps in enumerate(rates)]
    data = put_some(tmp_path / "data", clips)
    figures = look_over(data)[2]
    read = read_clips(data)
    windows = Windows(read, torch.arange(len(read)), length=30)
    assert figures.by_clip["windows"].tolist() == torch.bincount(windows.clip_N, minlength=5).tolist()
    first = read.offsets_C1[windows.clip_N] + windows.start_N
    touching = read.contact_FV[first].any(1) & read.contact_known_F[first]
    assert figures.sum("windows_in_contact") == int(touching.sum())


def put_some(dest: Path, clips: list[Clip]) -> Path:
    with write_clips(dest, name="made_up", hand=HAND.name, source={}) as writer:
        for clip in clips:
            writer.add(clip)
    return dest


SECTIONS = ("data", "findings", "splits", "ranges", "histograms", "groups", "sheet")


def check_page(text: str) -> None:
    for section in SECTIONS:
        assert f'id="{section}"' in text, section
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert text.count("<svg") >= 8 and text.count("data:image/webp;base64,") >= 24
    plain = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|(?<!s3:)//|<script|<link|@import|url\(", plain)
    assert len(text) < 3_000_000


def test_the_command_and_its_page(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [str(clean)])
    assert result.exit_code == 0, result.output
    [page] = tmp_path.iterdir()
    assert re.fullmatch(r"made_up-[0-9a-f]{12}\.html", page.name) and f"page: {page.name}" in result.output
    assert "24 clips, 1,080 frames" in result.output and re.search(r"objects +train", result.output)
    text = page.read_text()
    check_page(text)
    assert "stand-in hand: figures do not carry over to MANO" in text and "clean-07" in text


def test_errors_decide_the_exit_status(planted: Path, tmp_path: Path) -> None:
    html = tmp_path / "deep" / "page.html"
    result = CliRunner().invoke(main, [str(planted), "--json", "--html", str(html)])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["page"] == str(html) and told["clips"] == 24 + len(FAULTS)
    assert {finding["check"] for finding in told["findings"]} >= set(FAULTS)
    severities = [finding["severity"] for finding in told["findings"]]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    text = html.read_text()
    check_page(text)
    assert "fast joint: " in text and "lfit cup" in text  # in the findings, and under the clips of the sheet


def test_what_cannot_be_read_is_one_sentence(clean: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path / "nothing")])
    assert result.exit_code == 1 and "nothing is there" in result.output and "Traceback" not in result.output
    [shard] = clean.glob("*.parquet")
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:-100])
    (tmp_path / "manifest.json").write_bytes((clean / "manifest.json").read_bytes())
    result = CliRunner().invoke(main, [str(tmp_path), "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 1 and f"{shard.name}: damaged" in result.output
    assert not (tmp_path / "page.html").exists()


def test_names_in_the_data_stay_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    clips = [hand_clip(f"{hostile}-{i}", i, object=hostile, text=(hostile, "a")) for i in range(3)]
    page = tmp_path / "page.html"
    CliRunner().invoke(main, [str(put_some(tmp_path / "data", clips)), "--html", str(page)])
    text = page.read_text()
    assert "<script" not in text and "<img src=x" not in text and "&lt;script&gt;" in text


def test_on_s3(object_store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in object_store.env.items():
        monkeypatch.setenv(name, value)
    put_some(place := "s3://zoo/inspect", clean_clips(4))  # type: ignore[arg-type]
    result = CliRunner().invoke(main, [place, "--html", str(tmp_path / "page.html")])
    assert "4 clips" in result.output and "no setting" in result.output and result.exit_code == 0, (
        result.output
    )
    text = (tmp_path / "page.html").read_text()
    assert place in text
    CliRunner().invoke(main, [place, "--html", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").read_text() == text  # the same data, the same page


def test_a_picture_shows_the_nearest_surface() -> None:
    """Two triangles that cross: each is seen where it is nearer; nothing is drawn where there is none."""
    seen: list[bool] = []
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    square = np.array(
        [[-1, -1, 2], [3, -1, 2], [-1, 3, 2], [-1, -1, 1.5], [3, -1, 3.5], [-1, 3, 1.5]], dtype=float
    )
    colours = np.repeat(np.eye(3, dtype=np.float32)[:2], 3, axis=0)
    picture = draw_mesh(square, faces, colours, square_around(np.array([[-0.4, -0.4, 1], [0.2, 0.2, 1]])), 64)
    assert (picture[..., 3] == 255).all()
    red = picture[..., 0] > picture[..., 1]
    # The second plane is z = 1.75 + x / 2, nearer than 2 m where x < 0.5, so x / z < 0.25.
    assert not red[:, :20].any() and picture.shape == (64, 64, 4)
    # A tetrahedron is closed, and then what is turned away may be left out without a change.
    corner = np.array([[0, 0, 1], [0.3, 0.1, 1.3], [-0.2, 0.3, 1.2], [0.05, -0.3, 1.4]])
    sides = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    assert is_closed(sides) and not is_closed(sides[:3]) and is_closed(HAND.faces.numpy())
    for order in (sides, sides[:, ::-1]):
        whole, front = (
            draw_mesh(corner, order, np.eye(4, 3, dtype=np.float32), square_around(corner), 64, closed=closed)
            for closed in (False, True)
        )
        seen.append(np.array_equal(whole, front))
    assert sorted(seen) == [False, True]  # of the two ways round only the outward one may be left out
    small = draw_mesh(square[:3], faces[:1], colours[:3], square_around(square[:3], margin=2.0), 64)
    assert small[0, 0, 3] == 0 and small[32, 20, 3] == 255


def test_charts_have_round_ticks_and_survive_odd_values() -> None:
    assert nice_ticks(0.07, 0.31, 5) == [0.1, 0.15, 0.2, 0.25, 0.3]
    assert nice_ticks(0, 1, 3) == [0.0, 0.5, 1.0]
    assert histogram(np.full(5, np.nan), "m") == '<p class="none">nothing to show</p>'
    assert histogram(np.full(5, 30.0), "fps").count("<rect") == 36
    wild = np.append(np.linspace(0, 1, 5000), 1e9)
    assert "(6 beyond)" in histogram(wild, "m") or "beyond" in histogram(wild, "m")


def test_another_hand_shows_joints(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(clean, tmp_path, lambda m: m.update(hand="mano"))
    result = CliRunner().invoke(main, [str(tmp_path), "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 0
    text = (tmp_path / "page.html").read_text()
    assert "not the hand model that is loaded here" in text and "Where the hand touches" not in text


def test_random_numbers_are_no_hands(tmp_path: Path) -> None:
    """What the other tests train on must not pass for real motion."""
    data = write(tmp_path / "data", [random_clip(f"clip-{i}", seed=i) for i in range(16)])
    checks = {finding.check for finding in look_over(data)[3]}
    assert {"fast joint", "palm length", "behind the camera", "hand model"} <= checks
