"""`zoo predict`: the files it writes, the cameras it takes, and what it says of inputs that it cannot use."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_zoo import (
    HEIGHT_PX,
    INTERPOLATE,
    OBJECTS,
    POINT,
    POINT_M,
    TEXT,
    WIDTH_PX,
    ask,
    photo,
    publish,
    scene,
    sentence,
)
from PIL import Image

import zoo
from tests.named_zoo import zoo_in_folder
from trainables.latentact import UnknownText
from zoo import moving_picture
from zoo.errors import InputError, OutputError
from zoo.loading import trajectory_arrays
from zoo.photo_camera import Camera, camera_of, open_photo
from zoo.trajectory_files import viewer_clip


@pytest.fixture(autouse=True)
def model_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zoo with the small model, and an empty working folder."""
    zoo_in_folder(tmp_path, monkeypatch)
    publish(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_one_command_from_a_photo_to_a_moving_hand(tmp_path: Path) -> None:
    image = photo(tmp_path)
    result = ask("--image", image, "--text", TEXT, "--contact", POINT)
    assert result.exit_code == 0, result.output
    out = Path("photo-push-the-mug-left")
    assert sorted(path.name for path in out.iterdir()) == ["trajectory.gif", "trajectory.npz", "viewer.html"]
    expected = trajectory_arrays(
        zoo.load(f"{OBJECTS}@1").predict(image=image, text=TEXT, contact_point=POINT_M)
    )
    with np.load(out / "trajectory.npz", allow_pickle=False) as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
    with Image.open(out / "trajectory.gif") as gif:
        assert gif.n_frames == 30 and (out / "trajectory.gif").stat().st_size < 1_000_000
        assert gif.info["loop"] == 0
    page = (out / "viewer.html").read_text()
    assert TEXT in page and "stand-in hand" in page and "http://" not in page.split("<script", 1)[0]
    again = ask("--image", image, "--text", TEXT, "--contact", POINT)  # what is there is left alone
    assert again.exit_code == 0 and Path("photo-push-the-mug-left-2/viewer.html").is_file()
    onto = ask("--image", image, "--text", TEXT, "--contact", POINT, "--out", out)
    assert f"replaced  {out}/trajectory.npz" in onto.output
    assert not list(Path().rglob("*.partial"))


def test_what_is_written_and_what_is_not(tmp_path: Path) -> None:
    facts = json.loads(ask("--text", TEXT, "--json").output)
    assert facts["saved"] is None and facts["files"] == [] and not list(Path().iterdir())
    told = json.loads(ask("--text", TEXT, "--json", "--out", "one.html").output)
    assert told["files"] == ["one.html"] and [path.name for path in Path().iterdir()] == ["one.html"]
    ask("--text", TEXT, "--out", "two", "--format", "npz", "--format", "mp4")
    assert {path.name for path in Path("two").iterdir()} == {"trajectory.npz", "trajectory.mp4"}
    import av

    with av.open("two/trajectory.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) >= 30 and video.streams.video[0].average_rate == 30
    Path("taken").write_text("mine")
    assert "taken is a file" in sentence(ask("--text", TEXT, "--out", "taken"), code=1)
    assert Path("taken").read_text() == "mine"
    assert "cannot be written" in sentence(ask("--text", TEXT, "--out", "taken/below"), code=1)


def test_python_has_the_same(tmp_path: Path) -> None:
    image = photo(tmp_path)
    trajectory = zoo.predict(f"{OBJECTS}@1", image=image, text=TEXT, contact_point=POINT_M, out="all")
    assert {path.name for path in Path("all").iterdir()} == {
        "trajectory.npz",
        "trajectory.gif",
        "viewer.html",
    }
    assert zoo.write_trajectory(trajectory, "x.gif") == [Path("x.gif")]
    model = zoo.load(f"{OBJECTS}@1")
    asked = [{"text": TEXT, "image": image, "contact_point": (0.01 * i, 0, 0.5)} for i in range(5)]
    together = list(model.predict_batch(asked, batch=2))
    for one, other in zip(asked, together, strict=True):
        alone = model.predict(**one)
        assert (alone.vertices_m - other.vertices_m).abs().max() < 1e-5
        assert (alone.contact_probability - other.contact_probability).abs().max() < 1e-5
    with pytest.raises(OutputError, match="no format 'avi'"):
        zoo.write_trajectory(trajectory, "y", formats=["avi"])


def test_the_hand_is_drawn_where_the_camera_sees_it() -> None:
    trajectory = zoo.predict(f"{OBJECTS}@1", text=TEXT, contact_point=POINT_M)
    middle = trajectory.vertices_m.mean((0, 1)) - torch.tensor([0.03, 0.02, 0.8])
    trajectory.vertices_m = trajectory.vertices_m - middle  # all of it inside the photo
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 255, np.uint8)
    seen = open_photo(picture)
    # Another principal point, and pixels that are not square.
    camera = Camera(fx=150.0, fy=120.0, cx=140.0, cy=100.0, source="made up")
    shown = moving_picture.frames(trajectory, text="", photo=seen, camera=camera)
    scale = moving_picture.PANEL_PX / HEIGHT_PX
    for frame in (0, 29):
        panel = shown[frame, : moving_picture.PANEL_PX, : round(WIDTH_PX * scale)]
        rows, columns = np.nonzero((panel != 255).any(-1))
        x, y, z = np.moveaxis(np.asarray(trajectory.vertices_m[frame]), -1, 0)
        u, v = (camera.fx * x / z + camera.cx + 0.5) * scale, (camera.fy * y / z + camera.cy + 0.5) * scale
        for drawn, true, side in ((columns, u, panel.shape[1]), (rows, v, panel.shape[0])):
            low, high = np.clip([true.min(), true.max()], 0, side)
            assert abs(drawn.min() - low) < 2.5 and abs(drawn.max() + 1 - high) < 2.5


def test_the_viewer_counts_pixels_as_the_file_does(tmp_path: Path) -> None:
    """A large JPEG is decoded at a fraction of its size; a click in the viewer is a pixel for --contact-pixel."""
    scene().resize((4032, 3024)).save(tmp_path / "phone.jpg")
    large = open_photo(tmp_path / "phone.jpg")
    camera = camera_of(large)
    trajectory = zoo.predict(f"{OBJECTS}@1", text=TEXT, image=large.pixels)
    clip = viewer_clip(trajectory, title="", text=TEXT, photo=large, camera=camera)
    assert clip.photo is not None and clip.camera_K is not None
    with Image.open(io.BytesIO(clip.photo)) as shown:
        assert shown.size == (4032, 3024)
    assert clip.camera_K[0, 2] == camera.cx and clip.camera_K[0, 0] == camera.fx


def test_a_pixel_and_a_depth_are_a_point(tmp_path: Path) -> None:
    image = photo(tmp_path)
    x, y = 200.0, 150.0
    for options, focal_x, focal_y, cx, cy in (
        (["--camera", "300,310,150,110"], 300, 310, 150, 110),
        (["--focal-px", "400"], 400, 400, (WIDTH_PX - 1) / 2, (HEIGHT_PX - 1) / 2),
        ([], 307.4, 307.4, (WIDTH_PX - 1) / 2, (HEIGHT_PX - 1) / 2),  # 55 degrees over 320 pixels
    ):
        result = ask(
            "--image",
            image,
            "--text",
            TEXT,
            "--contact-pixel",
            f"{x},{y}",
            "--depth",
            0.5,
            "--json",
            *options,
        )
        facts = json.loads(result.stdout)
        expected = [(x - cx) / focal_x * 0.5, (y - cy) / focal_y * 0.5, 0.5]
        np.testing.assert_allclose(facts["contact_point_m"], expected, atol=2e-4)
        assert ("assumed" in facts["camera"]["source"]) == (not options)


def refused_photos(folder: Path) -> dict[str, str]:
    """Files that are no photo, and what is said of each."""
    whole = photo(folder, "whole.jpg").read_bytes()
    buffer = io.BytesIO()
    scene().save(buffer, "PNG")
    frames = [scene(), scene().rotate(5)]
    files: dict[str, tuple[bytes, str]] = {
        "text.jpg": (b"not an image", "no picture that is known"),
        "empty.png": (b"", "no picture that is known"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "export it as JPEG"),
        "half.jpg": (whole[: len(whole) // 2], "cut short"),
        "half.png": (buffer.getvalue()[: len(buffer.getvalue()) // 2], "half.png cannot be read"),
    }
    for kind in ("GIF", "WEBP", "TIFF"):
        moving = io.BytesIO()
        frames[0].save(moving, kind, save_all=True, append_images=frames[1:])
        files[f"moving.{kind.lower()}"] = (moving.getvalue(), "holds 2 pictures")
    wide = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(wide, "TIFF")
    files["float.tiff"] = (wide.getvalue(), "32 bits a pixel")
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    return {name: said for name, (_, said) in files.items()}


def test_what_is_no_photo_is_said_in_a_sentence(tmp_path: Path) -> None:
    for name, says in refused_photos(tmp_path).items():
        said = sentence(ask("--image", tmp_path / name, "--text", TEXT), code=1)
        assert says in said and name in said, said
    assert not list(Path().iterdir())
    assert "does not exist" in sentence(ask("--image", "absent.jpg", "--text", TEXT), code=2)


def test_points_that_no_camera_sees(tmp_path: Path) -> None:
    image = photo(tmp_path)
    for contact, says in {
        "0.02,0.01,-0.45": "behind the camera",
        "0.02,0.01,0": "behind the camera",
        "20,10,450": "divide millimetres by 1000",
        "2,1,45": "centimetres by 100",
    }.items():
        assert says in sentence(ask("--image", image, "--text", TEXT, f"--contact={contact}"), code=1)
    for contact in ("nan,0,0.5", "0,0,inf", "1,2", "a,b,c", ""):
        assert "is not X,Y,Z in metres" in sentence(ask("--text", TEXT, f"--contact={contact}"), code=2)
    pixel = ["--image", image, "--text", TEXT, "--contact-pixel"]
    assert f"{WIDTH_PX} x {HEIGHT_PX} pixels" in sentence(ask(*pixel, "320,10", "--depth", "0.5"), code=1)
    for depth in ("0", "-0.3", "nan"):
        assert "not before the camera" in sentence(ask(*pixel, "30,10", f"--depth={depth}"), code=2)
    assert "needs --depth" in sentence(ask(*pixel, "30,10"), code=2)
    assert "450" in sentence(ask(*pixel, "30,10", "--depth", "450"), code=1)
    for camera in ("0,300,1,1", "-1,300,1,1"):
        assert "above zero" in sentence(ask(*pixel, "30,10", "--depth", "0.5", f"--camera={camera}"), code=1)
    # Outside the photo a point may be meant: the first contact may lie there.
    aside = ask("--image", image, "--text", TEXT, "--contact", "0.6,0,0.5", "--json")
    assert aside.exit_code == 0 and "Warning: the contact point would be seen at pixel" in aside.stderr
    inside = ask("--image", image, "--text", TEXT, "--contact", POINT, "--json")
    assert inside.exit_code == 0 and not inside.stderr


def test_texts_that_the_model_cannot_know() -> None:
    assert "it is empty" in sentence(ask("--text", "  "), code=2)
    assert "Say the action with --text" in sentence(ask("--contact", POINT), code=2)
    assert "no word in Latin letters" in sentence(ask("--text", "抓住杯子"), code=1)
    foreign = sentence(ask("--text", "prends la tasse"), code=1)
    assert "none of the words" in foreign and "push" in foreign
    assert "grasp" in sentence(ask("--text", "grasping"), code=1)  # the nearest is named
    partly = ask("--text", "push the teapot left", "--json")
    assert partly.exit_code == 0 and "Warning:" in partly.stderr and "'teapot'" in partly.stderr
    model = zoo.load(f"{OBJECTS}@1")
    with pytest.raises(UnknownText):
        model.predict(text="prends la tasse")
    with pytest.warns(UserWarning, match="'teapot'"):
        model.predict(text="push the teapot")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(text=TEXT)
        model.predict(text="")  # unknown, which a model may be told


def test_models_that_want_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, mode="interpolate")
    said = sentence(ask("--text", TEXT, "--image", photo(tmp_path), name=f"{INTERPOLATE}@1"), code=1)
    assert "interpolates: give the last frame" in said
    both = ask("--text", TEXT, "--last-contact", "0.1,0,0.5", "--json", name=f"{INTERPOLATE}@1")
    assert both.exit_code == 0, both.output
    publish(tmp_path, hand="mano")
    wrong = ask("--text", TEXT, name=f"{OBJECTS}@2")
    said = sentence(wrong, code=1)
    assert "trained with the hand 'mano'" in said and "set MANO_PATH" in said
    monkeypatch.setenv("MANO_PATH", f"{tmp_path}/nowhere")
    assert "nowhere" in sentence(ask("--text", TEXT), code=1)


def test_devices_that_are_not_there() -> None:
    for device in ("cuda:99", "toaster"):
        assert f"no device '{device}'" in sentence(ask("--text", TEXT, "--device", device), code=1)
    with pytest.raises(InputError, match="choose another"):
        zoo.load(f"{OBJECTS}@1", device="cuda:99")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    image = photo(tmp_path)
    for options, says in {
        ("--text", TEXT, "--contact-pixel", "1,2", "--depth", "1"): "--contact-pixel needs --image",
        ("--text", TEXT, "--depth", "1"): "--depth needs --contact-pixel",
        ("--text", TEXT, "--focal-px", "500"): "give --image",
        ("--text", TEXT, "--click"): "--click needs --image",
        ("--text", TEXT, "--split", "objects"): "--split needs --data",
        ("--data", "x", "--text", TEXT): "--text does not go with --data",
        ("--batch", str(tmp_path), "--image", str(image)): "--image does not go with --batch",
    }.items():
        assert says in sentence(ask(*options), code=2), options
    both = ask("--text", TEXT, "--image", image, "--contact", POINT, "--contact-pixel", "1,2", "--depth", "1")
    assert "not both" in sentence(both, code=2)


def test_the_gif_shows_what_was_drawn() -> None:
    trajectory = zoo.predict(f"{OBJECTS}@1", text=TEXT, contact_point=POINT_M)
    drawn = moving_picture.frames(trajectory, text=TEXT, contact_point_m=POINT_M)
    with Image.open(io.BytesIO(moving_picture.gif(drawn))) as gif:
        durations = []
        for i in range(gif.n_frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
            found = np.asarray(gif.convert("RGB")).astype(int)
            assert np.abs(found - drawn[i]).mean() < 4, i
    assert sum(durations[:-1]) == pytest.approx(29 * 1000 / 30, abs=20)
