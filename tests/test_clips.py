"""Writing and reading data sets: round trip, resampling, atomicity, a clear sentence for every bad input."""

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import roma
import torch
from made_up_clips import SETTINGS, random_clip, some_clips, write

from trainables.clip_folder import open_folder
from trainables.clips import Clips, ClipsError, encode_png, read_clips, write_clips
from trainables.splits import part_clips
from trainables.train_statistics import train_statistics


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(tmp_path_factory.mktemp("clips") / "data", some_clips()))


def test_round_trip_keeps_every_number(data: Path) -> None:
    written, clips = some_clips(), read_clips(str(data))
    assert clips.clip_ids == [clip.clip_id for clip in written]
    assert clips.groups["object"][3] == "can" and clips.groups["scene"][3] is None
    for c, clip in enumerate(written):
        rows = slice(int(clips.offsets_C1[c]), int(clips.offsets_C1[c + 1]))
        for tensor, array in [
            (clips.global_orient_F3, clip.global_orient),
            (clips.hand_pose_F45, clip.hand_pose),
            (clips.transl_F3, clip.transl_m),
            (clips.joints_FJ3, clip.joints_m),
            (clips.contact_FV, clip.contact_bits),
            (clips.contact_known_F, clip.contact_known),
        ]:
            np.testing.assert_array_equal(tensor[rows].numpy(), array.astype(tensor.numpy().dtype))
        np.testing.assert_array_equal(clips.betas_C10[c].numpy(), clip.betas.astype(np.float32))
        seen = ~np.isnan(clip.camera_to_first[:, 0, 0])
        np.testing.assert_array_equal(clips.camera_known_F[rows].numpy(), seen)
        np.testing.assert_array_equal(
            clips.camera_rot_F33[rows].numpy()[seen], clip.camera_to_first[seen, :, :3]
        )
        np.testing.assert_array_equal(
            clips.camera_transl_F3[rows].numpy()[seen], clip.camera_to_first[seen, :, 3]
        )
        touched = ~np.isnan(clip.contact_point_m[:, 0])
        np.testing.assert_array_equal(clips.point_known_F[rows].numpy(), touched)
        np.testing.assert_array_equal(
            clips.point_F3[rows].numpy()[touched], clip.contact_point_m[touched].astype(np.float32)
        )
        half = clip.frames // 2
        assert [clips.texts[i] for i in clips.text_F[rows]] == ["reach cup"] * half + ["lift cup"] * (
            clip.frames - half
        )
        assert clips.image_F[rows].tolist() == [-1] * 3 + [2 * c] * (half - 3) + [2 * c + 1] * (
            clip.frames - half
        )
    assert all(
        not tensor.isnan().any() for tensor in vars(clips).values() if isinstance(tensor, torch.Tensor)
    )


def test_many_shards_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.clip_writer.CLIPS_PER_SHARD", 5)
    split, whole = read_clips(str(write(tmp_path / "a", some_clips()))), some_clips()
    assert [shard["clips"] for shard in split.manifest["shards"]] == [5, 5, 5, 1]
    monkeypatch.undo()
    one = read_clips(str(write(tmp_path / "b", whole)))
    for name, tensor in vars(one).items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, getattr(split, name)), name


def test_digest_names_the_content(data: Path, tmp_path: Path) -> None:
    again, other = some_clips(), some_clips()
    other[3] = replace(other[3], betas=other[3].betas + 1e-3)
    digest = read_clips(str(data)).digest
    assert read_clips(str(write(tmp_path / "again", again))).digest == digest
    assert read_clips(str(write(tmp_path / "other", other))).digest != digest


def test_other_frame_rates_are_brought_to_30(tmp_path: Path) -> None:
    # A hand that turns about one axis and moves evenly: slerp and straight lines must hit the exact values.
    frames = 25
    seconds = np.arange(frames) / 15.0
    axis = np.array([0.6, 0.0, 0.8])
    slow = random_clip("slow", frames, seed=1, fps=15.0)
    camera = np.zeros((frames, 3, 4))
    camera[:, :, :3] = roma.rotvec_to_rotmat(torch.tensor(seconds[:, None] * axis)).numpy()
    camera[:, 0, 3] = seconds
    camera[20] = np.nan
    slow = replace(
        slow,
        global_orient=seconds[:, None] * axis,
        transl_m=seconds[:, None] * np.array([1.0, 2.0, 3.0]),
        camera_to_first=camera,
    )
    clips = read_clips(str(write(tmp_path / "d", [*some_clips(), slow])))
    rows = slice(int(clips.offsets_C1[-2]), int(clips.offsets_C1[-1]))
    fine = np.arange(49) / 30.0
    assert rows.stop - rows.start == 49
    np.testing.assert_allclose(clips.global_orient_F3[rows].numpy(), fine[:, None] * axis, atol=2e-6)
    np.testing.assert_allclose(clips.transl_F3[rows].numpy(), fine[:, None] * [1, 2, 3], atol=2e-6)
    expected = roma.rotvec_to_rotmat(torch.tensor(fine[:, None] * axis)).numpy()
    known = clips.camera_known_F[rows].numpy()
    assert np.flatnonzero(~known).tolist() == [39, 40, 41]
    np.testing.assert_allclose(clips.camera_rot_F33[rows].numpy()[known], expected[known], atol=2e-6)
    np.testing.assert_array_equal(clips.contact_FV[rows].numpy()[::2], slow.contact_bits)
    assert clips.texts[int(clips.text_F[rows][23])] == "reach cup"
    assert clips.texts[int(clips.text_F[rows][24])] == "lift cup"
    assert (clips.image_F[rows][:6] == -1).all() and clips.image_F[rows][6] >= 0
    # Clips at 30 fps beside it are untouched, to the last bit.
    alone = read_clips(str(write(tmp_path / "alone", some_clips())))
    assert torch.equal(clips.global_orient_F3[: alone.frames], alone.global_orient_F3)
    assert torch.equal(clips.camera_rot_F33[: alone.frames], alone.camera_rot_F33)
    fast = replace(random_clip("fast", 41, fps=60.0), clip_id="fast")
    read = read_clips(str(write(tmp_path / "fast", [*some_clips(), fast])))
    np.testing.assert_allclose(read.joints_FJ3[-21:].numpy(), fast.joints_m[::2], atol=1e-6)


def test_resampling_lets_nothing_of_the_future_into_the_inputs(tmp_path: Path) -> None:
    slow = random_clip(
        "slow", 20, seed=1, fps=20.0
    )  # frame j at 30 fps is the moment of recorded frame j * 2 / 3
    cut = 9
    joints, contact, point = slow.joints_m.copy(), slow.contact_bits.copy(), slow.contact_point_m.copy()
    joints[cut:] += 1
    contact[cut:] = True
    point[cut:] = np.where(slow.contact_known[cut:, None], 9.0, np.nan)
    camera = slow.camera_to_first.copy()
    camera[cut:] = np.nan
    changed = replace(
        slow, joints_m=joints, contact_bits=contact, contact_point_m=point, camera_to_first=camera
    )
    changed = replace(changed, text=("reach cup", "drop cup"), text_start=(0, cut), image_frame=(3, cut))
    slow = replace(slow, text_start=(0, cut + 1), image_frame=(3, cut + 1))
    one, other = (
        read_clips(str(write(tmp_path / name, [*some_clips(), clip])))
        for name, clip in (("a", slow), ("b", changed))
    )
    start = int(one.offsets_C1[-2])
    last = start + 13  # at 8.67 recorded frames: the motion there leans on frame 9, the inputs must not
    assert not torch.equal(one.joints_FJ3[last], other.joints_FJ3[last])
    for f in range(start, last + 1):
        assert (
            torch.equal(one.point_F3[f], other.point_F3[f]) and one.point_known_F[f] == other.point_known_F[f]
        )
        assert one.image_F[f] == other.image_F[f]
        assert one.texts[int(one.text_F[f])] == other.texts[int(other.text_F[f])]
    assert other.texts[int(other.text_F[last + 1])] == "drop cup"


@pytest.mark.parametrize("shapes", [((8, 8, 3), (9, 9, 3)), ((8, 6, 3), (8, 6, 3))])
def test_pictures_must_be_square_and_of_one_size(tmp_path: Path, shapes: tuple[tuple[int, ...], ...]) -> None:
    pngs = [encode_png(np.zeros(shape, dtype=np.uint8)) for shape in shapes]
    with pytest.raises(ClipsError, match="field image_png: (pictures must be square|its pictures are)"):
        write(tmp_path / "d", [*some_clips(15), random_clip("odd", seed=15, image_png=pngs)])
    with pytest.raises(ClipsError, match="field image_png: holds something that is no picture"):
        write(tmp_path / "d", [*some_clips(15), random_clip("odd", seed=15, image_png=[b"no", b"no"])])
    assert list(tmp_path.iterdir()) == []


def test_statistics_come_from_train_alone(data: Path) -> None:
    clips = read_clips(str(data))
    stored = clips.manifest["settings"]["objects"]["statistics"]
    assert stored == train_statistics(clips, "objects")
    train = [clip for clip in some_clips() if clip.object in SETTINGS["objects"]["parts"]["train"]]
    transl = np.concatenate([clip.transl_m for clip in train])
    points = np.concatenate([clip.contact_point_m for clip in train])
    np.testing.assert_allclose(stored["transl_mean_m"], transl.mean(0), atol=1e-6)
    np.testing.assert_allclose(stored["transl_std_m"], transl.std(0), atol=1e-6)
    np.testing.assert_allclose(stored["contact_low_m"], np.nanmin(points, axis=0), atol=1e-6)
    np.testing.assert_allclose(stored["contact_high_m"], np.nanmax(points, axis=0), atol=1e-6)
    known = np.concatenate([clip.contact_known for clip in train])
    assert stored["contact_frames_share"] == pytest.approx(
        (~np.isnan(points[:, 0])).sum() / known.sum(), abs=1e-6
    )
    assert stored["counts"]["train"] == {"clips": len(train), "frames": len(transl), "groups": 5}
    changed = replace(clips, transl_F3=clips.transl_F3.clone())
    for c in part_clips(clips, "objects", "test").tolist():
        changed.transl_F3[clips.offsets_C1[c] : clips.offsets_C1[c + 1]] += 5
    assert train_statistics(changed, "objects") == stored


def test_an_equal_data_set_is_left_alone_and_another_is_refused(tmp_path: Path) -> None:
    dest = tmp_path / "data"
    write(dest, some_clips())
    stamp = (dest / "manifest.json").stat().st_mtime_ns
    with write_clips(dest, name="made_up", hand="standin-1", source={"seed": 0}) as writer:
        assert writer.finished
    assert (dest / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(ClipsError, match="source is .*choose another DEST"):
        write(dest, some_clips(), source={"seed": 1})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("mine")
    with pytest.raises(ClipsError, match="choose an empty or new folder"):
        write(tmp_path / "taken", some_clips())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "taken"]


def test_nothing_is_visible_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_clips(tmp_path / "d", name="x", hand="h", source={}) as writer:
        writer.add(random_clip("a"))
        raise RuntimeError("the importer broke")
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(ClipsError, match="no clip was written"),
        write_clips(tmp_path / "d", name="x", hand="h", source={}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "change", "says"),
    [
        ("joints_m", np.zeros((40, 20, 3)), "has shape"),
        ("hand_pose", np.full((40, 45), np.inf), "not finite"),
        ("contact_bits", np.zeros((40, 778)), "must be bool"),
        ("contact_point_m", np.zeros((40, 3)), "NaN exactly where"),
        ("text_start", (1, 5), "must rise from 0"),
        ("image_frame", (3, 99), "inside the clip"),
        ("fps", 0.0, "positive"),
    ],
)
def test_an_invalid_clip_is_refused_by_name(tmp_path: Path, field: str, change: object, says: str) -> None:
    bad = random_clip("wrong", **{field: change})
    with (
        pytest.raises(ClipsError, match=f"'wrong', field {field}: .*{says}"),
        write_clips(tmp_path / "d", name="x", hand="h", source={}) as writer,
    ):
        writer.add(bad)


def test_wrong_settings_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    for setting, says in [
        ({"group": "colour", "parts": {}}, "group is 'colour'"),
        ({"group": "object", "parts": {"dev": []}}, "part 'dev'"),
        ({"group": "object", "parts": {"train": ["cpu"]}}, "names 'cpu'"),
        (
            {"group": "object", "parts": {"train": ["ball"], "val": [], "gate": ["ball"]}},
            "'ball' lies in two parts",
        ),
    ]:
        with (
            pytest.raises(ClipsError, match=says),
            write_clips(tmp_path / "d", name="x", hand="h", source={}) as writer,
        ):
            writer.add(random_clip("a"))
            writer.settings = {"s": setting}
    with (
        pytest.raises(ClipsError, match="used twice"),
        write_clips(tmp_path / "d", name="x", hand="h", source={}) as writer,
    ):
        writer.add(random_clip("a"))
        writer.add(random_clip("a"))


def test_bad_data_sets_say_what_is_wrong(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "LATENTACT_CACHE", str(tmp_path / "empty")
    )  # else the node's verified copy would serve
    with pytest.raises(ClipsError, match="nothing is there.*python -m trainables.prepare"):
        read_clips(str(tmp_path / "nowhere"))
    copy = tmp_path / "copy"
    copy.mkdir()
    shard = (data / "shard-00000.parquet").read_bytes()
    (copy / "shard-00000.parquet").write_bytes(shard)
    with pytest.raises(ClipsError, match="no manifest.json.*interrupted"):
        read_clips(str(copy))
    manifest = json.loads((data / "manifest.json").read_text())

    def refused(changed: dict, says: str) -> None:
        (copy / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(ClipsError, match=says):
            read_clips(str(copy))

    refused(manifest | {"schema": 99}, "field schema: is 99, this version reads 1 and 2")
    refused({key: manifest[key] for key in manifest if key != "shards"} | {"schema": 1}, "lacks shards")
    table = pq.read_table(data / "shard-00000.parquet").drop(["betas"])
    pq.write_table(table, copy / "shard-00000.parquet")
    found = hashlib.sha256((copy / "shard-00000.parquet").read_bytes()).hexdigest()
    refused(
        manifest | {"shards": [manifest["shards"][0] | {"sha256": found}]},
        "columns are not those of schema 3",
    )
    (copy / "shard-00000.parquet").write_bytes(shard[:-9] + b"x" + shard[-8:])
    refused(manifest, "shard-00000.parquet: damaged .*delete the data set, then prepare or copy")
    (copy / "shard-00000.parquet").unlink()
    refused(manifest, "shard-00000.parquet: the manifest lists this shard, but it is gone")
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ClipsError, match="not JSON"):
        read_clips(str(copy))
    with pytest.raises(ClipsError, match="cannot reach such a place"):
        read_clips("ftp://somewhere/data")


def test_a_file_url_is_a_local_folder(data: Path) -> None:
    assert read_clips(data.as_uri()).digest == read_clips(str(data)).digest


def test_reading_is_fast(tmp_path: Path) -> None:
    many = [replace(random_clip("a", 72), clip_id=str(i), image_frame=(), image_png=()) for i in range(360)]
    write_dest = tmp_path / "many"
    with write_clips(write_dest, name="many", hand="h", source={}) as writer:
        for clip in many:
            writer.add(clip)
    start = time.process_time()  # of all threads; a busy machine changes it little
    clips = read_clips(str(write_dest))
    seconds = time.process_time() - start
    assert clips.frames == 360 * 72
    assert seconds < 1, f"reading 26k frames took {seconds:.1f} s"


def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(ClipsError, match="s3://bucket/data.*http://127.0.0.1:1 cannot be reached"):
        read_clips("s3://bucket/data")


def test_clips_move_as_a_whole(data: Path) -> None:
    clips: Clips = read_clips(str(data)).to("meta")
    assert {t.device.type for t in vars(clips).values() if isinstance(t, torch.Tensor)} == {"meta"}
    assert open_folder(str(data)).is_local


@pytest.mark.parametrize("name", ["made-up", "Made", "", "a/b"])
def test_a_name_that_no_model_could_bear_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClipsError, match="field name: models that it trains are named after it"):
        write_clips(tmp_path / "out", name=name, hand="h", source={})
