"""Unit costs of the HoloAssist engine, in CPU seconds of one core, on a made-up minute of 896 x 504 video at 30 fps.

    python -m tests.benchmarks.engine_costs

The video pans over a real photo (../shared/data/photos, noise without it), the hand repeats real DexYCB motion, labels
are the real ones where they are at hand. CPU seconds, not wall time: other processes on the machine count little.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.foreign import holoassist as foreign
from tests.foreign.real_motion import DATA as DEXYCB
from tests.foreign.real_motion import REAL, real_fits
from tests.test_holoassist_results import MATRIX, SIZE_PX, object_mask, truth
from trainables.clip_table import to_table
from trainables.hand import Hand, load_hand
from trainables.holoassist import Work, convert_recording
from trainables.holoassist_actions import MIN_ACTION_S, action_frames, selected
from trainables.holoassist_clips import Sources, hands_stage, tracks_stage
from trainables.holoassist_labels import FineAction, read_labels
from trainables.holoassist_tables import read_hand, read_pose
from trainables.holoassist_video import VideoFrames, decode_frames, index_video
from trainables.import_parts import keep_part
from trainables.import_run import Unit
from trainables.mask_contact import mask_contacts
from trainables.recorded_clips import hand_vertices
from trainables.square_picture import square_png

FPS, WIDE, HIGH = 30.0, 896, 504
EVERY, PX = 10, 224


def main_labels() -> Path:
    return DEXYCB.parent / "holoassist" / "holoassist_actions.json.gz"


@contextmanager
def cpu(name: str, per: float = 1, unit: str = "") -> Iterator[None]:
    """Prints the CPU seconds of what is inside, for one of `per` pieces."""
    begun = time.process_time()
    yield
    took = (time.process_time() - begun) / per
    click.echo(f"{name:46} {took * 1e3:10.3f} ms {unit}")


def photo() -> NDArray[np.uint8]:
    path = DEXYCB.parent / "photos" / "0001.jpg"
    if path.is_file():
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB").resize((2 * WIDE, 2 * HIGH)))
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (HIGH // 4, WIDE // 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((2 * WIDE, 2 * HIGH)))


def write_minute(folder: Path, seconds: int) -> tuple[Path, list[FineAction]]:
    """One recording whose hand is always seen, and an action every 4 s that lasts 3 s."""
    count = int(seconds * FPS)
    export = folder / "R900-1July-Bench" / "Export_py"
    motion = np.concatenate([foreign.in_view(np.asarray(f.recording.joints_m)) for f in real_fits()[:1]])
    there_and_back = np.concatenate([motion, motion[::-1]])
    joints = np.tile(there_and_back, (count // len(there_and_back) + 1, 1, 1))[:count]
    times = np.arange(count) / FPS
    head = foreign.head_motion(times, seed=0)
    ticks = foreign.START_TICKS + np.rint(times * 1e7).astype(np.int64)
    foreign.write_pose(export / "Video" / "Pose_sync.txt", ticks, head)
    own = foreign.as_hololens(joints) @ foreign.TO_OPENCV
    world = np.einsum("tij,tkj->tki", head[:, :3, :3], own) + head[:, None, :3, 3]
    foreign.write_hand(export / "Hands" / "Right_sync.txt", ticks, world)
    foreign.write_intrinsics(export / "Video" / "Intrinsics.txt", (WIDE, HIGH))
    (export / "Video" / "VideoMp4Timing.txt").write_text(f"{ticks[0]}\n{int(ticks[-1]) + 333_333}\n")
    base = photo()
    with av.open(str(export / "Video_pitchshift.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=int(FPS))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDE, HIGH, "yuv420p", 2_457_000
        stream.options = {
            "g": "250",
            "bf": "2",
            "preset": "veryfast",
        }  # 2.5 Mbit/s, as in the labels' metadata
        for i in range(count):
            x, y = int(WIDE / 2 * (1 + np.sin(i / 40))), int(HIGH / 2 * (1 + np.cos(i / 57)))
            picture = np.ascontiguousarray(base[y : y + HIGH, x : x + WIDE])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    actions = [
        FineAction(start_s=s, end_s=s + 3, verb="grab", noun="cup", adverbial="none", correctness="Correct Action")
        for s in range(1, seconds - 4, 4)
    ]  # fmt: skip
    return export.parent, actions


def label_costs() -> None:
    path = main_labels()
    if not path.is_file():
        click.echo(f"{path} is not there: no figures about labels")
        return
    with cpu("labels: read all 149,253 (condensed)"):
        labels = read_labels(path)
    with cpu("labels: select and lay out"):
        made = [(video, action_frames(selected(video), video.fps)[0]) for video in labels.videos]
    actions = sum(len(own) for _, own in made)
    frames = sum(a.last - a.first + 1 for _, own in made for a in own)
    covered = sum(len(np.unique(np.concatenate([np.arange(a.first, a.last + 1) for a in own]))) for _, own in made if own)  # fmt: skip
    pictures = sum(-(-(a.last - a.first + 1) // EVERY) for _, own in made for a in own)
    whole = json.loads(gzip.decompress(path.read_bytes()))
    total = sum(video["duration"] * video["fps"] for video in whole)
    click.echo(
        f"full size: {actions} actions of at least {MIN_ACTION_S:g} s, {frames} frames ({frames / actions:.0f} a clip), "
        f"{covered} distinct of {total:.0f} video frames, {pictures} pictures"
    )


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@click.command()
@click.option("--seconds", default=60, show_default=True, help="Length of the recording.")
def main(seconds: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    click.echo(f"real motion: {REAL}; one thread; {seconds} s of {WIDE}x{HIGH} at {FPS:g} fps")
    label_costs()
    hand = load_hand()
    with tempfile.TemporaryDirectory() as place:
        os.environ["LATENTACT_CACHE"] = str(Path(place) / "cache")
        folder, fine = write_minute(Path(place), seconds)
        sources = Sources(video=folder.name, task="bench", folder=folder, image_px=PX, image_every=EVERY)
        files, count = sources.files, int(seconds * FPS)
        for path in files.read(hand=True):
            click.echo(f"  {path.name}: {path.stat().st_size / count:.0f} bytes a frame")
        with cpu("tracks: Pose_sync.txt", count / 1000, "per 1,000 frames"):
            read_pose(files.pose)
        with cpu("tracks: Right_sync.txt", count / 1000, "per 1,000 frames"):
            read_hand(files.right_hand)
        with cpu("tracks: index of the video", count / 1000, "per 1,000 frames"):
            index = index_video(files.video)
        with cpu("tracks: whole stage, with sha256 of its inputs", count / 1000, "per 1,000 frames"):
            tracks, key = tracks_stage(sources)
        actions, _ = action_frames(fine, tracks.fps)
        hands_stage(sources, tracks, key, actions[:1], hand, "warm-up")
        inside = sum(a.last - a.first + 1 for a in actions)
        with cpu("hands: runs and inverse kinematics", inside / 1000, "per 1,000 frames of clips"):
            hands_stage(sources, tracks, key, actions, hand, "measured")
        decode_costs(files.video, index, count)
        contact_costs(hand)
        whole_costs(Path(place), sources, fine, count)


def decode_costs(path: Path, index: VideoFrames, count: int) -> None:
    def decode(wanted: list[int]) -> list[NDArray[np.uint8]]:
        return [picture for _, picture in decode_frames(path, index, wanted)]

    every = list(range(0, count, EVERY))
    with cpu(f"pictures: decode, every {EVERY}th frame given out", count, "per frame passed"):
        pictures = decode(every)
    some = list(range(0, count, count // 6))
    with cpu("pictures: decode 6 frames far apart", len(some), "per frame wanted (keyframe every 250)"):
        decode(some)
    with cpu(f"pictures: square, resize to {PX}, PNG", len(pictures), "per picture"):
        pngs = [square_png(picture, PX) for picture in pictures]
    click.echo(f"  a PNG of {PX} px: {np.mean([len(png) for png in pngs]) / 1e3:.1f} kB")


def contact_costs(hand: Hand) -> None:
    clip = foreign.WrittenClip(
        video="bench", verb="grab", noun="cup", first=0, last=44, joints_m=np.zeros((45, 21, 3)), real=0
    )
    vertices = hand_vertices(hand, truth(clip)[0])
    masks = [object_mask(clip, hand, vertices[t], t) for t in range(len(vertices))]
    assert masks[0].shape == SIZE_PX
    with cpu("contacts: from masks of 896 x 504", len(masks), "per frame"):
        mask_contacts(vertices, hand.faces.numpy(), masks, MATRIX)


def whole_costs(place: Path, sources: Sources, fine: list[FineAction], count: int) -> None:
    os.environ["LATENTACT_CACHE"] = str(place / "cold")
    unit = Unit(name=sources.video, key="0" * 64, work=Work(sources=sources, actions=fine))
    with cpu("whole recording, cold", count / 1000, "per 1,000 video frames (75% of them in clips)"):
        made = convert_recording(unit)
    with cpu("whole recording, every stage kept", count / 1000, "per 1,000 video frames"):
        convert_recording(unit)
    frames = sum(clip.frames for clip in made.clips)
    with cpu("rows and part file", len(made.clips), "per clip"):
        keep_part(place / "part", to_table(made.clips), {}, {}, {})
    stages = {path.name: folder_bytes(path) for path in (place / "cold" / "stages").iterdir()}
    said = ", ".join(f"{name} {size / len(made.clips) / 1e3:.0f} kB" for name, size in sorted(stages.items()))
    click.echo(
        f"{len(made.clips)} clips of {frames / len(made.clips):.0f} frames; kept by stages, a clip: {said}"
    )
    click.echo(
        f"data set: {folder_bytes(place / 'part') / len(made.clips) / 1e3:.0f} kB a clip, pictures with it"
    )


if __name__ == "__main__":
    main()
