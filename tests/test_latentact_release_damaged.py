"""What is wrong with LatentAct's published files is said by clip and field; what nobody can know is unknown, not guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.foreign.latentact_release import Truth, write_latentact_release, write_pickle
from trainables.clips import Clips, read_clips
from trainables.hand import load_hand
from trainables.latentact_release import import_latentact_release
from trainables.plain_pickle import read_pickle_plainly
from trainables.source_errors import DamagedFile, HostileFile, MissingFile, WrongValue

FILES = ("contact_0_100_fix.pkl", "contact_100_200_fix.pkl")
CONTACT = "downloads/holo_contact_dir"
FEATURES = "downloads/holo_video_feats/video_feats_0.pkl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MANO_PATH", raising=False)


def run(root: Path, **options: Any) -> tuple[dict[str, Any], Clips]:
    dest = root / "clips"
    report = import_latentact_release(root, dest, workers=1, show_progress=False, **options)
    return report, read_clips(dest)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = read_pickle_plainly(path)
    change(content)
    write_pickle(path, content)


def put(name: str, clip: int, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Replaces entry `clip` of list `name` by what `change` makes of it."""

    def apply(content: Any) -> None:
        content[name][clip] = change(content[name][clip])

    return apply


def nan_at(frame: int) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values = values.copy()
        values[frame] = np.nan
        return values

    return change


DAMAGES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("thetas", lambda v: v[:, :15], r"field thetas\[0\]: has shape \(24, 15, 3\), not \(24, 16, 3\)"),
    ("cam_t", nan_at(3), r"field cam_t\[1\]: holds NaN"),
    ("joints_cam", lambda v: v * 1000, r"field joints_cam\[2\]: holds .*outside -20 to 20"),
    ("joints_cam", lambda v: v * 10, r"field joints_cam\[3\]: .*this looks like decimetres"),
    ("contacts", lambda v: v[:-1], r"field contacts\[4\]: has 24 entries where joints_cam\[4\] has 25"),
    ("contact_maps", lambda v: [m * 3 for m in v], r"field contact_maps\[5\]: holds 3, outside"),
    ("names", lambda v: 17, r"field names\[6\]: is a int, not a text"),
    ("betas", lambda v: np.array(["x"] * len(v)), r"field betas\[7\]: is not an array of numbers"),
    ("ranges", lambda v: (v[0], v[0] + 4), r"field ranges\[8\]: has \d+ frames of motion in a range of 5"),
    ("tasks", lambda v: "", r"field tasks\[9\]: is empty"),
    ("contacts", lambda v: [np.ones((2, 2))] * len(v), r"field contacts\[10\]\[0\]: has shape \(2, 2\)"),
]  # fmt: skip


def test_a_damaged_clip_is_dropped_and_named(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES)

    def damage(content: Any) -> None:
        for clip, (name, change, _) in enumerate(DAMAGES):
            put(name, clip, change)(content)

    edit(tmp_path / CONTACT / FILES[0], damage)
    report, clips = run(tmp_path)
    assert len(clips) == len(made) - len(DAMAGES) and len(report["dropped"]) == len(DAMAGES)
    for (name, _, sentence), why in zip(DAMAGES, dropped_in_order(report, made), strict=True):
        assert re.search(sentence, why), (name, why)
        assert FILES[0] in why
    # The names that are lost are those of clips, so the lists still count right where the rest is known.
    assert report["split"]["order"] in ("lexicographic", "numeric")


def dropped_in_order(report: dict[str, Any], made: list[Truth]) -> list[str]:
    """The reasons by the clips' places in the first file."""
    dropped = report["dropped"]
    own = [truth for truth in made if truth.file == FILES[0]]
    reasons = []
    for clip in range(len(DAMAGES)):
        places = (own[clip].clip_id, f"{FILES[0]}, clip {clip}")
        shorter = f"{own[clip].video}/{own[clip].start:06d}-{own[clip].start + 4:06d}"
        reasons.append(next(dropped[name] for name in (*places, shorter) if name in dropped))
    return reasons


def test_a_hostile_contact_file_stops_the_import_and_nothing_of_it_runs(tmp_path: Path) -> None:
    write_latentact_release(tmp_path, files=FILES, clips=4)
    trap = tmp_path / "trapped"
    (tmp_path / CONTACT / FILES[1]).write_bytes(b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR.")
    with pytest.raises(HostileFile, match=f"{FILES[1]}.*names (os|posix).system"):
        run(tmp_path)
    assert not trap.exists() and not (tmp_path / "clips").exists()


def test_a_truncated_file_is_dropped_and_its_lists_with_it(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES)
    path = tmp_path / CONTACT / FILES[0]
    path.write_bytes(path.read_bytes()[:-100])
    report, clips = run(tmp_path)
    assert len(clips) == len(made) / 2
    assert "is no readable pickle" in report["dropped"][FILES[0]]
    assert f"own split: {FILES[0]} could not be read" in report["split"]["settings"]["objects"]["from"]
    (tmp_path / CONTACT / FILES[1]).write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFile, match=FILES[0]):
        import_latentact_release(tmp_path, tmp_path / "other", workers=1, show_progress=False)


def test_damaged_features_leave_the_motion_as_it_is(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6)
    (tmp_path / FEATURES).write_bytes(b"\x80\x04garbage")
    other = tmp_path / FEATURES.replace("_0", "_1")
    bad = next(truth for truth in made if truth.file == FILES[1])

    def damage(content: Any) -> None:
        content[bad.video][bad.start, bad.end]["tf_feat"] = np.zeros((3, 7))

    edit(other, damage)
    report, clips = run(tmp_path)
    assert len(clips) == len(made) and report["dropped"] == {}
    assert "video_feats_0.pkl" in report["feature_files_left_out"][0]
    assert report["counts"]["clips with damaged image features"] == 1
    assert report["counts"]["clips with image features"] == 4  # of six: one has a gap, one is damaged
    # Texts of the lost file are said nowhere else, so an encoder must make all of them.
    assert "no text feature is kept" in report["texts_without_feature"]
    assert "text" not in clips.manifest["features"] and clips.text_XF.numel() == 0


def test_cameras_that_are_lost_or_contradict_the_joints_are_unknown(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6)
    rng = np.random.default_rng(0)

    def damage(content: Any) -> None:
        put("rel_c2c", 0, nan_at(4))(content)
        put("rel_c2c", 1, lambda m: m @ np.diag([1.0, 1, 1, 2]))(content)  # no rigid transform
        put("rel_c2c", 2, lambda m: m[:-2])(content)
        put("joints_ref", 3, lambda joints: joints + rng.normal(0, 0.5, (len(joints), 1, 1, 3)))(content)
        put("joints_ref", 4, lambda joints: joints * np.nan)(content)

    edit(tmp_path / CONTACT / FILES[0], damage)
    report, clips = run(tmp_path)
    assert report["dropped"] == {}
    known = {}
    for clip, truth in enumerate(made[:5]):
        row = clips.clip_ids.index(truth.clip_id)
        known[clip] = clips.camera_known_F[clips.offsets_C1[row] : clips.offsets_C1[row + 1]].numpy()
    assert not known[0][4] and known[0].sum() == len(known[0]) - 1
    assert not known[1].any() and not known[2].any() and not known[3].any() and known[4].all()
    counts = report["counts"]
    assert counts["clips whose camera is malformed, taken as unknown"] == 1
    assert counts["clips whose camera contradicts joints_ref, taken as unknown"] == 1
    assert counts["clips whose camera nothing confirms"] == 2  # one has no joints_ref, one no camera


def test_a_clip_that_begins_without_a_hand_counts_from_its_first_frame(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6)
    lists = (
        "joints",
        "joints_cam",
        "joints_ref",
        "thetas",
        "betas",
        "cam_t",
        "rel_c2c",
        "contacts",
        "contact_maps",
    )

    def cut(content: Any) -> None:
        for name in lists:
            put(name, 0, lambda values: values[3:])(content)

    edit(tmp_path / CONTACT / FILES[0], cut)
    _, clips = run(tmp_path)
    row = clips.clip_ids.index(made[0].clip_id)
    frames = slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))
    first = np.tile(np.eye(4), (len(made[0].frames), 1, 1))
    first[:, :3] = made[0].camera_to_first
    expected = (np.linalg.inv(first[3]) @ first[3:])[:, :3]
    np.testing.assert_allclose(clips.camera_rot_F33[frames].numpy(), expected[:, :, :3], atol=2e-7)
    np.testing.assert_allclose(clips.camera_transl_F3[frames].numpy(), expected[:, :, 3], atol=2e-7)
    assert (clips.image_F[frames] == -1).all()  # which frames are missing is told nowhere


def test_joints_that_were_made_in_true_axes_confirm_the_camera_too(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6, ref_as_stored=False)
    report, clips = run(tmp_path)
    assert report["camera_axes"]["taken"] == "repaired" and clips.camera_known_F.all()
    assert report["median_and_p95"]["joints_ref_off_mm_repaired"]["p95"] < 0.01
    assert len(clips) == len(made)


def test_cameras_that_are_in_opencv_axes_already_are_left_alone(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6, as_stored=False)
    report, clips = run(tmp_path)
    assert report["camera_axes"]["taken"] == "stored"
    row = clips.clip_ids.index(made[0].clip_id)
    first = int(clips.offsets_C1[row])
    np.testing.assert_allclose(
        clips.camera_rot_F33[first + 9].numpy(), made[0].camera_to_first[9, :, :3], atol=2e-7
    )


def test_parameters_of_another_hand_are_found_anew_within_five_millimetres(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=3)

    def other_hand(content: Any) -> None:  # MANO's numbers mean another pose to the stand-in
        content["thetas"] = [thetas + 0.4 for thetas in content["thetas"]]

    edit(tmp_path / CONTACT / FILES[0], other_hand)
    edit(tmp_path / CONTACT / FILES[1], put("cam_t", 0, lambda values: values + 0.1))
    report, clips = run(tmp_path)
    assert report["counts"]["clips with the stored parameters"] == 2
    assert report["counts"]["clips whose joints_cam is not joints + cam_t"] == 1
    hand = load_hand()
    for truth in made[:4]:
        row = clips.clip_ids.index(truth.clip_id)
        frames = slice(int(clips.offsets_C1[row]), int(clips.offsets_C1[row + 1]))
        joints = hand.joints(
            clips.global_orient_F3[frames],
            clips.hand_pose_F45[frames],
            clips.betas_C10[row].expand(frames.stop - frames.start, -1),
            clips.transl_F3[frames],
        )
        off = np.linalg.norm(joints.numpy() - truth.joints_m, axis=-1)
        assert 1000 * np.median(off) < 5
        np.testing.assert_array_equal(clips.joints_FJ3[frames].numpy(), truth.joints_m.astype(np.float32))


def test_labels_tell_frame_rates_and_without_lists_the_tasks(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=6, features=False)
    (tmp_path / "settings.json").unlink()
    videos = sorted({truth.video for truth in made})
    said = [
        {
            "video_name": video,
            "taskType": f"task {i}",
            "videoMetadata": {"video": {"fps": 24.46}},
            "events": [],
        }
        for i, video in enumerate(videos)
    ]
    (tmp_path / "labels.json").write_text(json.dumps(said))
    report, clips = run(tmp_path, labels=tmp_path / "labels.json")
    for row, name in enumerate(clips.clip_ids):
        truth = next(truth for truth in made if truth.clip_id == name)
        assert clips.groups["task"][row] == f"task {videos.index(truth.video)}"
        count = int(clips.offsets_C1[row + 1] - clips.offsets_C1[row])
        assert count == int((len(truth.frames) - 1) * 30 / 24.46) + 1  # brought to 30 fps
    assert clips.image_IF.numel() == 0 and "features" not in clips.manifest
    assert "no settings.json was given" in report["split"]["settings"]["scenes"]["from"]


def test_what_all_clips_need_stops_the_import(tmp_path: Path) -> None:
    write_latentact_release(tmp_path, files=FILES, clips=2, features=False)
    with pytest.raises(MissingFile, match="none.json"):
        run(tmp_path, settings=tmp_path / "none.json")
    content = json.loads((tmp_path / "settings.json").read_text())
    content["tasks"]["test"] = content["tasks"]["train"]
    (tmp_path / "settings.json").write_text(json.dumps(content))
    with pytest.raises(WrongValue, match="settings.json, field tasks"):
        run(tmp_path)
    with pytest.raises(MissingFile, match="holds no arctic_contact_dir"):
        run(tmp_path, part="arctic")
    assert not (tmp_path / "clips").exists()


def test_a_clip_that_is_there_twice_is_dropped_once(tmp_path: Path) -> None:
    made = write_latentact_release(tmp_path, files=FILES, clips=4)
    edit(
        tmp_path / CONTACT / FILES[0],
        lambda content: [values.append(values[0]) for values in content.values()],  # type: ignore[func-returns-value]
    )
    report, clips = run(tmp_path)
    assert len(clips) == len(made) and len(report["dropped"]) == 1
    assert "a second clip of the name" in next(iter(report["dropped"].values()))
