"""What is wrong with a HoloAssist tree is said by class, file and field, or costs its recording alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.foreign.holoassist import LABELS, write_holoassist
from trainables.clips import ClipsError, read_clips
from trainables.holoassist import HoloAssistError, import_holoassist
from trainables.holoassist_hands import hololens_hands
from trainables.holoassist_labels import read_labels
from trainables.holoassist_tracks import RecordingFiles, read_tracks
from trainables.holoassist_video import decode_frames, index_video
from trainables.source_errors import (
    DamagedFile,
    MissingField,
    MissingFile,
    SourceError,
    WrongShape,
    WrongType,
    WrongValue,
)

GOPRO, COFFEE = "R901-1July-GoPro", "z902-june-02-22-espresso"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("holoassist")
    write_holoassist(root)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def in_line(number: int, change: Callable[[list[str]], list[str]]) -> Change:
    """Changes the words of one line of a text file."""

    def damage(path: Path) -> None:
        lines = path.read_text().split("\n")
        lines[number] = "\t".join(change(lines[number].split("\t")))
        path.write_text("\n".join(lines))

    return damage


def scaled(path: Path) -> None:
    """Joints in millimetres."""
    lines = [line.split("\t") for line in path.read_text().strip().split("\n")]
    for line in lines:
        for i in range(3, 3 + 416):
            if line[i] != "NaN" and (i - 3) % 16 in (3, 7, 11):
                line[i] = repr(1000 * float(line[i]))
    path.write_text("\n".join("\t".join(line) for line in lines))


def cut(share: float) -> Change:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return damage


DAMAGES: dict[str, tuple[str, Change, type[SourceError], str]] = {
    "no pose": ("Video/Pose_sync.txt", Path.unlink, MissingFile, "missing"),
    "no hand": ("Hands/Right_sync.txt", Path.unlink, MissingFile, "missing"),
    "no video": ("Video_pitchshift.mp4", Path.unlink, MissingFile, "missing"),
    "no camera": ("Video/Intrinsics.txt", Path.unlink, MissingFile, "missing"),
    "an empty pose": ("Video/Pose_sync.txt", lambda p: p.write_text("") and None, DamagedFile, "empty"),
    "a short pose row": ("Video/Pose_sync.txt", in_line(3, lambda w: w[:9]), WrongShape, "column"),
    "a short first row": ("Hands/Right_sync.txt", in_line(0, lambda w: w[:400]), WrongShape, "471"),
    "a cut hand row": ("Hands/Right_sync.txt", in_line(5, lambda w: w[:80]), WrongShape, "column"),
    "a word for a number": (
        "Video/Pose_sync.txt", in_line(2, lambda w: [*w[:5], "red", *w[6:]]), WrongType, "red",
    ),
    "ticks that are no number": (
        "Hands/Right_sync.txt", in_line(2, lambda w: [w[0], "NaN", *w[2:]]), WrongValue, "ticks",
    ),
    "time that runs back": ("Video/Pose_sync.txt", in_line(9, lambda w: [w[0], "1", *w[2:]]), WrongValue, "rise"),
    "a short camera": ("Video/Intrinsics.txt", in_line(0, lambda w: w[:7]), WrongShape, "numbers"),
    "a camera of zeros": (
        "Video/Intrinsics.txt", in_line(0, lambda w: ["0"] * 9 + w[9:]), WrongValue, "camera",
    ),
    "an end before the start": (
        "Video/VideoMp4Timing.txt", lambda p: p.write_text("9\n8\n") and None, WrongValue, "from 9 to 8",
    ),
    "a time that is no number": (
        "Video/VideoMp4Timing.txt", lambda p: p.write_text("soon\nlater\n") and None, WrongType, "ticks",
    ),
    "half a video": ("Video_pitchshift.mp4", cut(0.5), DamagedFile, "video"),
    "a video of noise": (
        "Video_pitchshift.mp4", lambda p: p.write_bytes(bytes(range(256)) * 40) and None, DamagedFile, "video",
    ),
    "binary in a text": (
        "Video/Intrinsics.txt", lambda p: p.write_bytes(b"\xff\xfe\x00\x81") and None, DamagedFile, "text",
    ),
    "millimetres": ("Hands/Right_sync.txt", scaled, WrongValue, "millimetres"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DAMAGES))
def test_a_damaged_file_is_named(copy: Path, name: str) -> None:
    file, damage, kind, words = DAMAGES[name]
    path = copy / GOPRO / "Export_py" / file
    damage(path)
    with pytest.raises(kind, match=words) as caught:
        files = RecordingFiles(copy / GOPRO)
        hololens_hands(read_tracks(files, hand=True), str(files.right_hand))
    assert caught.value.file == str(path)


def test_a_pose_without_rigid_motion_is_refused_and_a_single_row_is_unknown(copy: Path) -> None:
    path = copy / GOPRO / "Export_py" / "Video" / "Pose_sync.txt"
    in_line(20, lambda words: [*words[:2], *["0"] * 16])(path)
    tracks = read_tracks(RecordingFiles(copy / GOPRO), hand=True)
    assert np.flatnonzero(~tracks.posed).tolist() == [20]
    lines = [line.split("\t") for line in path.read_text().strip().split("\n")]
    path.write_text("\n".join("\t".join([*line[:2], *["NaN"] * 16]) for line in lines))
    with pytest.raises(WrongValue, match="no rigid motion"):
        read_tracks(RecordingFiles(copy / GOPRO), hand=True)


def test_a_damaged_recording_is_dropped_and_the_others_are_imported(copy: Path, tmp_path: Path) -> None:
    cut(0.4)(copy / GOPRO / "Export_py" / "Video_pitchshift.mp4")
    report = import_holoassist(copy, tmp_path / "out", image_px=32, workers=1, show_progress=False)
    assert list(report["dropped"]) == [GOPRO] and "Video_pitchshift.mp4" in report["dropped"][GOPRO]
    assert report["recordings"] == 2 and report["clips"] == 1
    assert read_clips(tmp_path / "out").groups["scene"] == [COFFEE]


def test_where_no_hand_is_ever_seen_the_recording_is_reported(copy: Path, tmp_path: Path) -> None:
    def lose(video: str, world: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full_like(world, np.nan) if video == COFFEE else world

    write_holoassist(copy, change_hand=lose)
    report = import_holoassist(copy, tmp_path / "out", image_px=32, workers=1, show_progress=False)
    assert report["dropped"] == {COFFEE: "none of its selected actions became a clip"}
    assert report["actions"]["lost"]["no right hand is seen"] == 1


def test_frames_that_are_wanted_are_decoded_wherever_they_lie(tree: Path) -> None:
    from tests.foreign.holoassist import shown_number

    path = tree / GOPRO / "Export_py" / "Video_pitchshift.mp4"
    index = index_video(path)
    for wanted in ([0], [110], [3, 4, 5], [11, 12, 13, 50, 97], [12, 24], list(range(111))):
        got = list(decode_frames(path, index, wanted))
        assert [number for number, _ in got] == wanted
        assert [shown_number(picture) for _, picture in got] == wanted
    with pytest.raises(WrongValue, match="111 frames"):
        list(decode_frames(path, index, [5, 111]))


def test_what_all_recordings_need_stops_the_import(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fails(kind: type[ClipsError], words: str, **options: Path) -> None:
        with pytest.raises(kind, match=words):
            import_holoassist(options.pop("source", copy), out, workers=1, show_progress=False, **options)
        assert not out.exists()

    fails(HoloAssistError, "no such folder", source=tmp_path / "nowhere")
    fails(HoloAssistError, "leave out --sam2", sam2=tmp_path / "nowhere")
    fails(MissingFile, "missing", labels=tmp_path / "none.json")
    path = copy / LABELS
    labels = json.loads(path.read_text())
    for content, kind, words in (
        ("[{", DamagedFile, "JSON"),
        ("[" * 100_000, DamagedFile, "JSON"),
        ("{}", WrongType, "not a list"),
        ("[]", WrongShape, "no video"),
        ("[3, null]", WrongType, "no entry"),
        (json.dumps([labels[0] | {"video_name": "elsewhere"}]), HoloAssistError, "check both paths"),
    ):
        path.write_text(content)
        fails(kind, words)
    path.unlink()
    fails(MissingFile, "--labels")


def test_single_labels_that_are_damaged_are_counted(copy: Path) -> None:
    path = copy / LABELS
    labels = json.loads(path.read_text())
    fine = [event for event in labels[0]["events"] if event["label"] == "Fine grained action"]
    fine[0]["start"] = "early"
    fine[1]["attributes"] = None
    fine[2]["attributes"]["Verb"] = ["touch"]  # older files have lists
    fine[3]["end"] = float("nan")
    others = [
        labels[1],
        labels[1] | {"video_name": "../../etc"},
        {key: value for key, value in labels[1].items() if key != "videoMetadata"},
        labels[1] | {"video_name": "R7", "videoMetadata": {"video": {"fps": "fast"}}},
        labels[1] | {"video_name": "R8", "videoMetadata": {"video": {"fps": -1}}},
        labels[1] | {"video_name": "R9", "events": "none"},
        labels[1],
    ]
    path.write_text(json.dumps([labels[0], *others]))
    read = read_labels(path)
    assert [v.video for v in read.videos] == [GOPRO, COFFEE]
    assert read.unreadable_actions == {GOPRO: 3} and read.videos[0].actions[0].verb == "touch"
    said = " ".join(read.unreadable_videos.values())
    assert len(read.unreadable_videos) == 6
    for words in (
        "no name of a folder",
        "videoMetadata: is missing",
        "not a number",
        "-1 frames",
        "not a list",
    ):
        assert words in said
    assert "a second time" in said and all(LABELS in why for why in read.unreadable_videos.values())
    with pytest.raises(MissingField):
        path.write_text(json.dumps([{"events": []}]))
        from trainables.holoassist_labels import _video

        _video({"events": []}, path)
