"""The codebook explorer: its facts against a plain count over every frame, and its page in a browser."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sweeps import code_page as pages
from sweeps.code_facts import OFFSETS, CodeFacts, code_facts
from sweeps.codes import main
from sweeps.opened_model import open_model
from tests.browser import chromium, page
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny, train
from trainables.clips import Clips
from trainables.latentact import LatentAct
from trainables.model_folder import save_model
from trainables.trial import parts_windows
from trainables.windows import Windows

TRIAL = tiny(codebook_epochs=2, indexer_epochs=1, epochs=1, codes=12)
Made = tuple[LatentAct, Clips, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    top = tmp_path_factory.mktemp("codes")
    clips = tiny_clips(top / "clips", clips=40)
    model, _ = train(TRIAL, clips)
    save_model(model, top / "model")
    return model, clips, top


@pytest.fixture(scope="module")
def facts(made: Made) -> CodeFacts:
    windows = parts_windows(TRIAL, made[1], ("train", "val"))
    return code_facts(made[0], *windows, most_windows=10_000)


@pytest.fixture(scope="module")
def counted(made: Made) -> tuple[Windows, np.ndarray, np.ndarray]:
    """Training windows, the code of every frame (W,T,Q), and how far it is from what the quantizer was given."""
    model, clips, _ = made
    windows = parts_windows(TRIAL, clips, ("train",))[0]
    batch = windows.gather(torch.arange(len(windows)))
    given: list[torch.Tensor] = []
    codebook = model.codebook
    assert codebook is not None
    handle = codebook.quantizer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        index = codebook.encode(model.target(batch), batch).index_BTQ
    handle.remove()
    left, distances = given[0], []
    for q in range(index.shape[-1]):
        codes_KD = codebook.quantizer.stages_QKD[q]
        every = torch.cdist(left, codes_KD)
        assert (every.argmin(-1) == index[..., q]).float().mean() > 0.999
        distances.append(
            every.gather(-1, index[..., q, None])[..., 0] / codes_KD.square().sum(-1).mean().sqrt()
        )
        left = left - codes_KD[index[..., q]]
    return windows, index.numpy(), torch.stack(distances, -1).numpy()


def test_use_contact_and_words_are_those_of_the_frames(
    made: Made, facts: CodeFacts, counted: tuple[Windows, np.ndarray, np.ndarray]
) -> None:
    model, clips, _ = made
    windows, index, _ = counted
    batch = windows.gather(torch.arange(len(windows)))
    touches = batch.contact_BTV.numpy()
    texts = np.array([clips.texts[i].split()[0] for i in clips.text_F.tolist()])
    frame = (clips.offsets_C1[batch.clip_B] + batch.start_B)[:, None] + torch.arange(TRIAL.window)
    thumb = (model.hand.finger_V == 0).numpy()
    for q in range(TRIAL.quantizers):
        for code in range(TRIAL.codes):
            mine = index[..., q] == code
            assert facts.train.counts_QK[q, code] == mine.sum()
            assert ((q, code) in facts.neighbours) == mine.any()
            if not mine.any():
                continue
            np.testing.assert_allclose(facts.contact_QKV[q, code], touches[mine].mean(0), atol=1e-5)
            assert facts.fingers_QKF[q, code, 0] == pytest.approx(
                touches[mine][:, thumb].any(1).mean(), abs=1e-5
            )
            assert facts.touching_QK[q, code] == pytest.approx(touches[mine].any(1).mean(), abs=1e-5)
            said = texts[frame.numpy()[mine]]
            for n, word in enumerate(facts.words):
                assert facts.words_QKN[q, code, n] == (said == word).sum()
    assert facts.windows == len(windows) and facts.clips == 25


def test_motion_is_the_mean_of_what_is_decoded_around_the_moment(
    made: Made, facts: CodeFacts, counted: tuple[Windows, np.ndarray, np.ndarray]
) -> None:
    model = made[0]
    windows, index, _ = counted
    batch = windows.gather(torch.arange(len(windows)))
    assert model.codebook is not None
    with torch.no_grad():
        latent = model.codebook.encode(model.target(batch), batch).latent_BTD
        motion = model.codebook.decode(latent, batch)[0].numpy()
    q, code = max(facts.neighbours, key=lambda at: int(facts.train.counts_QK[at]))
    middle = OFFSETS.index(0)
    np.testing.assert_allclose(
        facts.motion_QKOC[q, code, middle], motion[index[..., q] == code].mean(0), atol=1e-4
    )
    later = [
        motion[w, t + 3]
        for w, t in zip(*np.nonzero(index[..., q] == code), strict=True)
        if t + 3 < TRIAL.window
    ]
    np.testing.assert_allclose(facts.motion_QKOC[q, code, middle + 1], np.mean(later, axis=0), atol=1e-4)
    # Windows of 8 frames show nothing 12 frames later: what is nearest stands there.
    np.testing.assert_array_equal(facts.motion_QKOC[q, code, -1], facts.motion_QKOC[q, code, -2])


def test_neighbours_are_the_nearest_frames_of_different_clips(
    facts: CodeFacts, counted: tuple[Windows, np.ndarray, np.ndarray]
) -> None:
    windows, index, distance = counted
    clip, start = windows.clip_N.numpy(), windows.start_N.numpy()
    for (q, code), near in facts.neighbours.items():
        best: dict[int, float] = {}
        for w, t in zip(*np.nonzero(index[..., q] == code), strict=True):
            best[int(clip[w])] = min(best.get(int(clip[w]), np.inf), float(distance[w, t, q]))
        assert [n.distance for n in near] == pytest.approx(sorted(best.values())[:3], abs=1e-4)
        for n in near:
            assert distance[n.row, n.frame, q] == pytest.approx(n.distance, abs=1e-4)
            assert clip[n.row] == n.clip and n.time_s == pytest.approx((start[n.row] + n.frame) / 30)


def test_few_windows_are_spread_evenly(made: Made) -> None:
    windows = parts_windows(TRIAL, made[1], ("train", "val"))
    told: list[tuple[int, int]] = []
    few = code_facts(made[0], *windows, most_windows=5, progress=lambda *counts: told.append(counts))
    assert few.windows == 5 and few.clips == 5 and told[-1] == (10, 10)


def page_data(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_every_code_that_is_used_the_most_used_first(
    made: Made, facts: CodeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "STRIDE", TRIAL.stride)
    text = pages.code_page(open_model(str(made[2] / "model"), device="cpu"), made[1], most_windows=10_000)
    data = page_data(text)
    assert [row[2] for row in data["rows"]] == sorted((row[2] for row in data["rows"]), reverse=True)
    assert {(row[0], row[1]) for row in data["rows"]} == set(facts.neighbours)
    near = np.frombuffer(base64.b64decode(data["near"]), np.int8).reshape(len(data["rows"]), 3, 21, 3)
    q, code, *_ = data["rows"][0]
    first = facts.neighbours[q, code][0]
    windows = parts_windows(TRIAL, made[1], ("train",))[0]
    joints = windows.gather(torch.tensor([first.row])).joints_ref_BTJ3[0, first.frame].numpy()
    np.testing.assert_allclose(
        near[0, 0].astype(float) * data["near_step_mm"] / 1000, joints - joints[0], atol=0.0011
    )
    assert len(data["pictures"]) == len(data["rows"])


def test_a_page_that_would_be_too_large_leaves_out_drawings_of_the_rarest(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(str(made[2] / "model"), device="cpu")
    whole = page_data(pages.code_page(opened, made[1], most_windows=100))
    monkeypatch.setattr(pages, "MOST_BYTES", 60_000)
    monkeypatch.setattr(pages, "PICTURE_PX", 64)
    text = pages.code_page(opened, made[1], most_windows=100)
    small = page_data(text)
    frame = len(text) - len(json.dumps(small, separators=(",", ":")))  # style, script and markup
    assert len(text) - frame < 60_000
    assert len(small["rows"]) == len(whole["rows"]) and len(small["pictures"]) < len(whole["pictures"])


def test_the_command(made: Made, tmp_path: Path) -> None:
    _, _, top = made
    out = tmp_path / "codes.html"
    done = CliRunner().invoke(
        main, [str(top / "model"), "--data", str(top / "clips"), "--out", str(out), "--device", "cpu"]
    )
    assert done.exit_code == 0 and "codes.html" in done.output, done.output
    assert out.stat().st_size < 10_000_000
    plain, _ = train(tiny(method="transformer", epochs=1), made[1])
    save_model(plain, tmp_path / "plain")
    done = CliRunner().invoke(
        main, [str(tmp_path / "plain"), "--data", str(top / "clips"), "--out", str(out)]
    )
    assert done.exit_code == 1 and "has no codebook" in done.output
    done = CliRunner().invoke(
        main, [str(top / "model"), "--data", str(top / "clips"), "--out", str(tmp_path / "no" / "x")]
    )
    assert done.exit_code == 1 and "make it first" in done.output


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser_codes_are_drawn_sorted_and_found(
    made: Made, tmp_path: Path, width: int, dark: bool
) -> None:
    out = tmp_path / "codes.html"
    out.write_text(
        pages.code_page(open_model(str(made[2] / "model"), device="cpu"), made[1], most_windows=1000)
    )
    data = page_data(out.read_text())
    ours = ["willReadFrequently"]  # this test reads canvases back until they are drawn
    with (
        chromium() as browser,
        page(browser, out, width=width, dark=dark, reduced_motion=True, forgiven=ours) as shown,
    ):
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        titles = shown.locator(".code h3 b")
        first = [f"1 / {row[1]}" for row in data["rows"] if row[0] == 0]
        assert titles.all_inner_texts() == first[:24]
        shown.locator(".code").first.scroll_into_view_if_needed()
        shown.wait_for_function(
            "() => [...document.querySelector('.code').querySelectorAll('canvas')].every((canvas) => "
            "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value))"
        )
        shown.get_by_label("Order").select_option("number")
        assert titles.first.inner_text() == f"1 / {min(row[1] for row in data['rows'] if row[0] == 0)}"
        shown.get_by_label("Quantizer").select_option("2")
        assert titles.first.inner_text().startswith("2 / ")
        number = str(next(row[1] for row in data["rows"] if row[0] == 1))
        shown.get_by_label("Search").fill(number)
        assert titles.first.inner_text() == f"2 / {number}"
        shown.get_by_label("Search").fill("no such clip")
        assert shown.locator("#count").inner_text().startswith("0 codes") and titles.count() == 0
