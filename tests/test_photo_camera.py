"""Photos as people have them: turned, grey, large, damaged; and the cameras that took them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from photo_zoo import HEIGHT_PX, WIDTH_PX, photo, scene
from PIL import Image

from trainables.photo import PhotoError, photo_pixels
from zoo.photo_camera import camera_of, open_photo


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_turns_the_photo_and_knows_its_lens(tmp_path: Path, orientation: int) -> None:
    turned = open_photo(photo(tmp_path, "turned.png", orientation=orientation, focal_35_mm=28))
    np.testing.assert_array_equal(turned.pixels, np.asarray(scene()))
    assert (turned.width, turned.height) == (WIDTH_PX, HEIGHT_PX)
    camera = camera_of(turned)
    # 28 mm on film of 43.27 mm diagonal, on a picture of 400 pixels diagonal.
    assert camera.fx == pytest.approx(28 / 43.267 * 400, rel=1e-4) and not camera.assumed
    point = camera.point_m((30.0, 40.0), 0.7)
    assert camera.pixel(point) == pytest.approx((30.0, 40.0)) and point[2] == 0.7


def test_a_large_jpeg_is_decoded_small_and_seen_in_the_right_place(tmp_path: Path) -> None:
    scene().resize((4032, 3024)).save(tmp_path / "phone.jpg")
    opened = open_photo(tmp_path / "phone.jpg")
    assert (opened.width, opened.height) == (4032, 3024) and 1024 <= opened.pixels.shape[1] < 2200
    small = Image.fromarray(opened.pixels).resize((WIDTH_PX, HEIGHT_PX))
    assert np.abs(np.asarray(small).astype(int) - np.asarray(scene())).mean() < 3
    K = camera_of(opened, intrinsics=(3000, 3000, 2015.5, 1511.5)).matrix(scale=opened.pixels.shape[1] / 4032)
    assert K[0, 2] == pytest.approx((opened.pixels.shape[1] - 1) / 2)


@pytest.mark.parametrize("kind", ["grey", "grey16", "cmyk", "palette", "rgba", "one bit"])
def test_other_kinds_of_pictures_are_made_rgb(tmp_path: Path, kind: str) -> None:
    picture = scene()
    grey = np.asarray(picture.convert("L"))
    if kind == "grey":
        Image.fromarray(grey).save(tmp_path / "x.png")
    elif kind == "grey16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "x.png")
    elif kind == "cmyk":
        picture.convert("CMYK").save(tmp_path / "x.jpg", quality=98)
    elif kind == "palette":
        picture.quantize(16).save(tmp_path / "x.png")
    elif kind == "rgba":
        clear = picture.copy()
        clear.putalpha(
            Image.fromarray(
                np.where(np.arange(WIDTH_PX) < 100, 0, 255).astype(np.uint8)[None].repeat(HEIGHT_PX, 0)
            )
        )
        clear.save(tmp_path / "x.png")
    else:
        picture.convert("1").save(tmp_path / "x.png")
    path = next(tmp_path.glob("x.*"))
    found = photo_pixels(path)
    assert found.dtype == np.uint8 and found.shape == (HEIGHT_PX, WIDTH_PX, 3)
    if kind.startswith("grey"):
        np.testing.assert_array_equal(found, grey[..., None].repeat(3, -1))
    elif kind == "rgba":
        assert not found[:, :100].any() and (found[:, 100:] == np.asarray(picture)[:, 100:]).all()
    elif kind != "one bit":
        assert np.abs(found.astype(int) - np.asarray(picture)).mean() < 6


def test_no_damaged_photo_ends_in_anything_but_a_picture_or_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("jpg", "png", "tiff", "webp", "gif", "bmp"):
        photo(tmp_path, "whole.jpg")
        scene().save(tmp_path / f"whole.{kind}")
        whole = np.frombuffer((tmp_path / f"whole.{kind}").read_bytes(), np.uint8)
        for _ in range(25):
            damaged = whole[: rng.integers(1, len(whole) + 1)].copy()
            damaged[rng.integers(0, len(damaged), 4)] = rng.integers(0, 256, 4)
            (tmp_path / f"damaged.{kind}").write_bytes(damaged.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    opened = open_photo(tmp_path / f"damaged.{kind}")
                except PhotoError as error:
                    assert f"damaged.{kind}" in str(error)
                else:
                    assert opened.pixels.ndim == 3
