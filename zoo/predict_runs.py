"""What `zoo predict` does: one prediction, a batch of them, or one for each click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np

import zoo
from zoo.batch_table import Asked, read_batch
from zoo.cli_output import count_bar, print_json
from zoo.errors import InputError, OutputError, is_for_users
from zoo.loading import contact_by_finger
from zoo.names import parse_reference
from zoo.photo_camera import camera_of, open_photo
from zoo.predict_options import PredictOptions, new_folder
from zoo.prediction_batch import MOST_SHOWN, Batch, Told, predictions, tell, write_batch
from zoo.trajectory_files import USUAL, planned, wrist_path_cm, write_trajectory

if TYPE_CHECKING:
    from trainables.trajectory import Trajectory


def one(options: PredictOptions) -> None:
    """Predict once; print what came of it and where it was written."""
    asked = options.asked()
    if asked.image is not None:
        open_photo(asked.image)  # what is no picture is found out before a model is pulled
    writes = options.out is not None or not options.as_json
    out = options.place(asked.image.stem if asked.image else "", asked.text)
    plan = planned(out, options.formats or USUAL) if writes else {}
    model = zoo.load(options.name, device=options.device)
    told = tell(model, asked, intrinsics=options.camera, focal_px=options.focal_px)
    for note in told.notes:
        click.echo(f"Warning: {note}.", err=True)
    (trajectory,) = model.predict_read([told.prompt])
    replaced = [path for path in plan.values() if path.exists()]
    files = _write(options, trajectory, out, asked.text, told, list(plan)) if plan else []
    facts = _facts(trajectory, told)
    if options.as_json:
        npz = next((str(path) for path in files if path.suffix == ".npz"), None)
        print_json({**facts, "saved": npz, "files": [str(path) for path in files]})
        return
    _print_facts(facts)
    for path in files:
        click.echo(f"{'replaced' if path in replaced else 'saved   '}  {path}")


def many(options: PredictOptions) -> None:
    """Predict a table, a folder of images, or the clips of a part; exit with 1 where some could not be."""
    formats = options.formats or ("npz", "html")
    if options.batch is not None:
        asked = list(read_batch(options.batch, text=options.text, contact=options.contact))
        source = options.batch.stem if options.batch.is_file() else options.batch.resolve().name
        out = options.place(source, "predictions")
        planned(out / "one", formats)
        model = zoo.load(options.name, device=options.device)
        total = len(asked)
        results = predictions(model, asked, intrinsics=options.camera, focal_px=options.focal_px)
    else:
        from zoo.clip_predictions import clip_predictions

        assert options.data is not None
        part = options.part or "val"
        out = options.place(parse_reference(options.name).name, options.split or "", part)
        planned(out / "one", formats)
        folder = zoo.pull(options.name)
        model = zoo.load(options.name, device=options.device)
        total, results = clip_predictions(
            model, folder, options.data, setting=options.split, part=part, limit=options.limit
        )
    with count_bar("predicting") as advance:
        batch = write_batch(
            results, out, title=f"{options.name}: {out.name}", formats=formats,
            progress=lambda done: advance(done, total),
        )  # fmt: skip
    _print_batch(options, batch, out)
    if batch.failed:
        raise SystemExit(1)


def clicks(options: PredictOptions) -> None:
    """Serve a page on which each click asks for a prediction, until Ctrl-C."""
    from zoo.click_page import click_page
    from zoo.click_server import ClickServer

    assert options.image is not None
    photo = open_photo(options.image)
    camera = camera_of(photo, intrinsics=options.camera, focal_px=options.focal_px)
    planned(Path("one"), options.formats or USUAL)
    model = zoo.load(options.name, device=options.device)
    stem = options.image.stem

    def ask(question: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        started = perf_counter()
        try:
            asked = _asked_by_click(options, question)
            told = tell(model, asked, intrinsics=options.camera, focal_px=options.focal_px)
            (trajectory,) = model.predict_read([told.prompt])
            out = new_folder(options.out or Path(), stem, asked.text)
            formats = list(dict.fromkeys([*(options.formats or ("npz",)), "html"]))
            files = _write(options, trajectory, out, asked.text, told, formats)
        except (InputError, OutputError, ValueError) as error:
            if isinstance(error, ValueError) and not is_for_users(error):
                raise
            return {"problem": str(error)}, ""
        click.echo(
            f"{perf_counter() - started:.1f} s  {asked.text!r} at {question['x']},{question['y']}: {out}"
        )
        page = next(path for path in files if path.suffix == ".html").read_text("utf-8")
        return {"notes": [f"Warning: {note}." for note in told.notes], "files": str(out)}, page

    with ClickServer("", ask) as server:
        repeat = [] if options.camera is None else [f"--camera {','.join(f'{x:g}' for x in options.camera)}"]
        repeat += [] if options.focal_px is None else [f"--focal-px {options.focal_px:g}"]
        server.page = click_page(
            photo, camera, model=options.name, image=str(options.image), text=options.text or "",
            options=" ".join(repeat),
        )  # fmt: skip
        click.echo(f"Open {server.address} and click the contact point; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()


def _asked_by_click(options: PredictOptions, question: Mapping[str, Any]) -> Asked:
    values = [question.get(name) for name in ("x", "y", "depth_m")]
    text = question.get("text")
    if not isinstance(text, str) or not text.strip():
        raise InputError("Say what the hand will do, such as 'lift the mug'.")
    if not all(isinstance(value, int | float) for value in values):
        raise InputError("Click the contact point and say how far it is from the camera, in metres.")
    x, y, depth_m = map(float, values)  # type: ignore[arg-type]
    return replace(options, text=text, contact_pixel=[x, y], depth=depth_m).asked()


def _write(
    options: PredictOptions, trajectory: Trajectory, out: Path, text: str, told: Told, formats: Sequence[str]
) -> list[Path]:
    return write_trajectory(
        trajectory, out, title=options.name, text=text, image=told.photo, contact_point=told.contact_point_m, camera=told.camera,
        formats=formats,
    )  # fmt: skip


def _facts(trajectory: Trajectory, told: Told) -> dict[str, Any]:
    wrist_m = np.asarray(trajectory.joints_m)[:, 0]
    camera = told.camera and {"focal_px": told.camera.fx, "source": told.camera.source}
    return {
        "frames": len(wrist_m),
        "frames_per_s": 30,
        "wrist_m": wrist_m.tolist(),
        "wrist_path_cm": wrist_path_cm(trajectory),
        "contact_by_finger": contact_by_finger(trajectory),
        "contact_threshold": float(trajectory.contact_threshold),
        "contact_point_m": told.contact_point_m,
        "camera": camera,
        "hand": trajectory.hand,
    }


def _print_facts(facts: Mapping[str, Any]) -> None:
    def point(values: Sequence[float]) -> str:
        return ", ".join(f"{value:.3f}" for value in values)

    fingers, threshold = facts["contact_by_finger"], facts["contact_threshold"]
    touching = [f"{finger} {peak:.2f}" for finger, peak in fingers.items() if peak >= threshold]
    best = next(iter(fingers))
    none = f"no finger reaches the threshold {threshold:.2f}; most likely {best} {fingers[best]:.2f}"
    start, end = point(facts["wrist_m"][0]), point(facts["wrist_m"][-1])
    click.echo(f"frames    {facts['frames']} at {facts['frames_per_s']} per second")
    if facts["contact_point_m"] is not None:
        click.echo(f"point     ({point(facts['contact_point_m'])}) m in the image's camera")
    if facts["camera"] is not None:
        click.echo(
            f"camera    focal length {facts['camera']['focal_px']:.0f} pixels ({facts['camera']['source']})"
        )
    click.echo(f"wrist     from ({start}) to ({end}) m, a path of {facts['wrist_path_cm']:.1f} cm")
    click.echo(f"contact   {', '.join(touching) or none}")
    if facts["hand"] != "mano":
        click.echo(f"hand      {facts['hand']}, which stands in for MANO")


def _print_batch(options: PredictOptions, batch: Batch, out: Path) -> None:
    for failed in batch.failed:
        click.echo(f"{failed.where}: {failed.problem}", err=True)
    if options.as_json:
        problems = [{"where": failed.where, "problem": failed.problem} for failed in batch.failed]
        print_json(
            {"predicted": batch.done, "failed": problems, "files": [str(path) for path in batch.files]}
        )
        return
    also = f", {len(batch.failed)} failed" if batch.failed else ""
    click.echo(f"predicted {batch.done}{also}; one folder each in {out}")
    for path in batch.files:
        shown = f" (the first {batch.shown})" if path.suffix == ".html" and batch.done > MOST_SHOWN else ""
        click.echo(f"saved     {path}{shown}")
