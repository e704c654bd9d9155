"""The importer of LatentAct's published annotations, on files in their layout made from real motion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import trainables.latentact_release as importer
from tests.foreign.latentact_release import FILES, Truth, split_lists, write_latentact_release
from trainables.clips import Clips, read_clips
from trainables.import_run import Made, Unit
from trainables.latentact_release import import_latentact_release
from trainables.plain_pickle import read_pickle_plainly
from trainables.prepare import main
from trainables.splits import PARTS, part_clips

SETTINGS = {"objects": "categories", "actions": "actions", "tasks": "tasks", "scenes": "instances"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MANO_PATH", raising=False)
        yield


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    root = tmp_path_factory.mktemp("release")
    return root, write_latentact_release(root)


@pytest.fixture(scope="module")
def imported(
    release: tuple[Path, list[Truth]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    dest = tmp_path_factory.mktemp("clips") / "release"
    return dest, import_latentact_release(release[0], dest, workers=1, show_progress=False)


@pytest.fixture(scope="module")
def clips(imported: tuple[Path, dict[str, Any]]) -> Clips:
    return read_clips(imported[0])


def rows_of(clips: Clips, truth: Truth) -> slice:
    row = clips.clip_ids.index(truth.clip_id)
    return slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))


def test_what_the_files_store_comes_back_exactly(
    clips: Clips, release: tuple[Path, list[Truth]], imported: tuple[Path, dict[str, Any]]
) -> None:
    assert sorted(clips.clip_ids) == sorted(truth.clip_id for truth in release[1])
    assert imported[1]["dropped"] == {}
    assert imported[1]["counts"]["clips with the stored parameters"] == len(clips)
    for truth in release[1]:
        frames, own = rows_of(clips, truth), truth.parameters
        row = clips.clip_ids.index(truth.clip_id)
        for found, stored in (
            (clips.global_orient_F3[frames], own.global_orient),
            (clips.hand_pose_F45[frames], own.hand_pose),
            (clips.transl_F3[frames], own.transl_m),
            (clips.betas_C10[row], own.betas),
            (clips.joints_FJ3[frames], truth.joints_m),
        ):
            np.testing.assert_array_equal(found.numpy(), stored.astype(np.float32))
        verb, noun = truth.text.split(" ", 1)
        said = {name: values[row] for name, values in clips.groups.items()}
        assert said == {
            "object": noun, "action": verb, "task": truth.text, "scene": truth.video, "subject": None,
        }  # fmt: skip
        assert {clips.texts[i] for i in clips.text_F[frames].tolist()} == {truth.text}


def test_the_camera_is_brought_to_opencv_axes(
    clips: Clips, release: tuple[Path, list[Truth]], imported: tuple[Path, dict[str, Any]]
) -> None:
    for truth in release[1]:
        frames = rows_of(clips, truth)
        assert clips.camera_known_F[frames].all()
        np.testing.assert_allclose(
            clips.camera_rot_F33[frames].numpy(), truth.camera_to_first[:, :, :3], atol=2e-7
        )
        np.testing.assert_allclose(
            clips.camera_transl_F3[frames].numpy(), truth.camera_to_first[:, :, 3], atol=2e-7
        )
    said = imported[1]["camera_axes"]
    assert said["taken"] == "repaired" and said["path_repaired_m"] < 0.7 * said["path_stored_m"]
    off = imported[1]["median_and_p95"]
    assert off["joints_ref_off_mm_stored"]["p95"] < 0.01
    assert off["joints_ref_off_mm_repaired"]["median"] > 100


def test_contact_is_the_releases_and_unknown_where_it_has_no_points(
    clips: Clips, release: tuple[Path, list[Truth]]
) -> None:
    seen = 0
    for truth in release[1]:
        frames = rows_of(clips, truth)
        touched = truth.bits.any(1)
        np.testing.assert_array_equal(clips.contact_FV[frames].numpy().astype(bool), truth.bits)
        np.testing.assert_array_equal(clips.contact_known_F[frames].numpy(), touched)
        np.testing.assert_array_equal(clips.point_known_F[frames].numpy(), touched)
        means = [points.mean(0) for points in truth.points if len(points)]
        np.testing.assert_array_equal(
            clips.point_F3[frames].numpy()[touched], np.array(means).reshape(-1, 3).astype(np.float32)
        )
        seen += int(touched.sum())
    assert 0 < seen < clips.frames


def test_features_lie_at_their_frames_and_gaps_leave_them_out(
    clips: Clips, release: tuple[Path, list[Truth]], imported: tuple[Path, dict[str, Any]]
) -> None:
    assert clips.manifest["features"] == {
        "image": {"encoder": "deit", "width": 768},
        "text": {"encoder": "clip", "width": 512},
    }
    whole = [truth for truth in release[1] if not truth.has_gap]
    assert clips.image_IF.shape == (sum(len(truth.frames) for truth in whole), 768)
    for truth in release[1]:
        frames = rows_of(clips, truth)
        text = clips.text_F[frames][0]
        np.testing.assert_array_equal(clips.text_XF[text].numpy(), truth.text_feature)
        if truth.has_gap:
            assert (clips.image_F[frames] == -1).all() and (clips.hand_free_F[frames] == -1).all()
            continue
        np.testing.assert_array_equal(clips.image_IF[clips.image_F[frames]].numpy(), truth.image)
        # Rows 3 and 4 are those of the original frames: the latest one without the hand holds.
        latest = truth.hand_free[[0, 1, 2, 2, 2, *range(5, len(truth.hand_free))]]
        np.testing.assert_array_equal(clips.hand_free_IF[clips.hand_free_F[frames]].numpy(), latest)
    counts = imported[1]["counts"]
    assert counts["clips with gaps"] == counts["clips whose image features have gaps"] == 4
    assert counts["hand-free features that still show the hand"] == 2 * len(whole)


def test_the_four_settings_are_the_releases(
    clips: Clips, release: tuple[Path, list[Truth]], imported: tuple[Path, dict[str, Any]]
) -> None:
    lists = split_lists(release[1])
    numbers = {truth.clip_id: i for i, truth in enumerate(release[1])}  # numeric order, as they were written
    assert imported[1]["split"]["order"] == "numeric"
    assert set(imported[1]["split"]["straddling_percent"].values()) == {0.0}
    for name, theirs in SETTINGS.items():
        parts = {
            part: {numbers[clips.clip_ids[i]] for i in part_clips(clips, name, part).tolist()}
            for part in PARTS
        }
        assert parts["train"] == set(lists[theirs]["train"]), name
        assert parts["test"] == set(lists[theirs]["test"])
        assert parts["val"] | parts["gate"] == set(lists[theirs]["val"]) and parts["val"] and parts["gate"]


def released_loader(downloads: Path, window: int) -> Iterator[dict[str, Any]]:
    """Windows as the release's own loader makes them of the same files (latentact.md, sections a and b).

    All pickles as they are; motion (W, 61), the camera of the window from M_s inv(M_t), joints_ref moved by M_s.
    """
    features: dict[str, Any] = {}
    for path in sorted((downloads / "holo_video_feats").glob("*feat*.pkl")):
        features |= read_pickle_plainly(path)
    for path in sorted((downloads / "holo_contact_dir").glob("*.pkl")):
        lists = read_pickle_plainly(path)
        for i, (name, task) in enumerate(zip(lists["names"], lists["tasks"], strict=True)):
            start, end = lists["ranges"][i]
            row = features[name][start, end]
            assert len(row["tf_feat"]) == len(row["text_feat"]) == len(row["conv_feat"]) == end - start + 1
            n = len(lists["thetas"][i])
            motion = np.concatenate(
                [lists["thetas"][i].reshape(n, 48), lists["betas"][i], lists["cam_t"][i].reshape(n, 3)], 1
            )
            assert all(
                len(p) == m.sum() for p, m in zip(lists["contacts"][i], lists["contact_maps"][i], strict=True)
            )
            for s in range(n - window):
                m_s, m_t = lists["rel_c2c"][i][s], lists["rel_c2c"][i][s : s + window]
                ref = lists["joints_ref"][i][s : s + window, 0]
                yield {
                    "name": name,
                    "task": task,
                    "motion": motion[s : s + window],
                    "camera": m_s @ np.linalg.inv(m_t),
                    "joints_cam": lists["joints_cam"][i][s : s + window, 0],
                    "joints_ref": ref @ m_s[:3, :3].T + m_s[:3, 3],
                }


def test_the_files_are_those_that_the_releases_loader_reads(release: tuple[Path, list[Truth]]) -> None:
    windows = list(released_loader(release[0] / "downloads", window=16))
    assert len(windows) == sum(len(truth.frames) - 16 for truth in release[1])
    for one in windows[::17]:
        assert one["motion"].shape == (16, 61) and one["camera"].shape == (16, 4, 4)
        turn, shift = one["camera"][:, :3, :3], one["camera"][:, None, :3, 3]
        back = np.einsum("tij,tkj->tki", turn, one["joints_cam"]) + shift
        np.testing.assert_allclose(back, one["joints_ref"], atol=1e-5)


def test_a_shape_that_changes_becomes_its_median_and_the_rest_is_constant(
    clips: Clips, release: tuple[Path, list[Truth]], imported: tuple[Path, dict[str, Any]]
) -> None:
    changing = [truth for truth in release[1] if (truth.betas != truth.betas[0]).any()]
    assert len(changing) == len(FILES)
    assert imported[1]["counts"]["clips with one shape"] == len(clips) - len(changing)
    for truth in changing:
        row = clips.clip_ids.index(truth.clip_id)
        np.testing.assert_array_equal(clips.betas_C10[row].numpy(), np.median(truth.betas, axis=0))


def test_importing_again_leaves_it_alone_and_the_command_says_what_there_is(
    imported: tuple[Path, dict[str, Any]], release: tuple[Path, list[Truth]], tmp_path: Path
) -> None:
    dest = imported[0]
    before = {path.name: path.stat().st_mtime_ns for path in dest.iterdir()}
    result = CliRunner().invoke(main, ["latentact-release", str(release[0] / "downloads"), str(dest),
                                       "--settings", str(release[0] / "settings.json")])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert {path.name: path.stat().st_mtime_ns for path in dest.iterdir()} == before
    assert "56 recordings: 56 clips kept, 0 dropped" in result.output and "taken repaired" in result.output
    result = CliRunner().invoke(main, ["latentact-release", str(tmp_path / "nowhere"), str(tmp_path / "out")])
    assert result.exit_code == 1 and "no such folder" in result.output


def test_an_import_that_was_interrupted_goes_on(
    release: tuple[Path, list[Truth]],
    imported: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    converted: list[str] = []
    real = importer.convert_file

    def stopped(unit: Unit) -> Made:
        if len(converted) == 2:
            raise KeyboardInterrupt
        converted.append(unit.name)
        return real(unit)

    def again(unit: Unit) -> Made:
        converted.append(unit.name)
        return real(unit)

    monkeypatch.setattr(importer, "convert_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_latentact_release(release[0], tmp_path / "out", workers=1, show_progress=False)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(importer, "convert_file", again)
    import_latentact_release(release[0], tmp_path / "out", workers=1, show_progress=False)
    assert sorted(converted) == sorted(FILES)
    manifests = [
        json.loads((folder / "manifest.json").read_text()) for folder in (tmp_path / "out", imported[0])
    ]
    assert manifests[0] == manifests[1]


def test_arctics_part_has_its_own_files_axes_and_settings(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, part="arctic", clips=10, as_stored=False)
    report = import_latentact_release(
        tmp_path, tmp_path / "out", part="arctic", workers=1, show_progress=False
    )
    clips = read_clips(tmp_path / "out")
    assert report["camera_axes"]["taken"] == "stored" and len(clips) == len(made) == 20
    for truth in made:
        frames = rows_of(clips, truth)
        torch.testing.assert_close(
            clips.camera_rot_F33[frames], torch.from_numpy(truth.camera_to_first[:, :, :3]).float()
        )
    parts = {part: set(part_clips(clips, "scenes", part).tolist()) for part in PARTS}
    train = {i for i, name in enumerate(clips.clip_ids) if name.startswith("s01/")}
    assert parts["train"] == train and len(set.union(*parts.values())) == 20
    assert set(clips.groups["subject"]) == {"s01", "s02"} and clips.hand_free_IF.numel() == 0
