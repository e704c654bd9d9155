"""The viewer's page without a browser: what is in it, how exact and how large it is, and what it refuses."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo.viewer
from tests.viewer_clips import CAMERA_K, viewer_clips
from zoo.inline_page import asset, inline_page
from zoo.packed_numbers import packed_integers, packed_positions, unpacked_integers, unpacked_positions
from zoo.viewer import ViewerClip, clip_payload, viewer_page

ASSETS = Path(zoo.viewer.__file__).parent / "viewer_assets"
MOST_BYTES = 5_000_000
MOST_BUNDLE_BYTES = 600_000


class Parts(HTMLParser):
    """The text of each script and style, and the attributes of each meta element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside: list[tuple[str, str]] = []
        self.metas: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "meta":
            self.metas.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("script", "style") and data.strip():
            self.inside.append((self.tags[-1], data))

    @property
    def policy(self) -> str:
        return next(
            m["content"] or "" for m in self.metas if m.get("http-equiv") == "Content-Security-Policy"
        )


@pytest.fixture(scope="module")
def eight() -> tuple[list[ViewerClip], np.ndarray]:
    return viewer_clips(8)


def test_positions_come_back_within_a_twentieth_of_a_millimetre(eight: Any) -> None:
    for clip in eight[0][:2]:
        payload = json.loads(json.dumps(clip_payload(clip)))
        for key, wanted_m in (
            ("vertices", clip.vertices_m),
            ("joints", clip.joints_m),
            ("truth_vertices", clip.truth_vertices_m),
            ("truth_joints", clip.truth_joints_m),
            ("object_vertices", clip.object_vertices_m[None]),
        ):
            error_mm = 1000 * np.abs(unpacked_positions(payload[key]) - wanted_m).max()
            assert error_mm <= 0.0251, key
        shares = unpacked_integers(payload["contact"]) / 255
        assert np.abs(shares - clip.contact_probability).max() <= 0.5 / 255 + 1e-9
        assert np.array_equal(unpacked_integers(payload["object_faces"]), clip.object_faces)


def test_what_reaches_far_is_packed_in_coarser_steps() -> None:
    positions_m = np.random.default_rng(0).uniform(-40, 40, (3, 5, 3))
    packed = packed_positions(positions_m)
    assert np.abs(unpacked_positions(packed) - positions_m).max() <= packed["step_m"] / 2 + 1e-9
    assert packed["step_m"] < 0.0013


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_every_whole_number_comes_back(dtype: type[np.unsignedinteger[Any]]) -> None:
    most = int(np.iinfo(dtype).max)
    numbers = np.array([[0, most], [most, 0], [most // 2, most // 2 + 1], [1, most - 1]], dtype)
    back = unpacked_integers(packed_integers(numbers))
    assert back.dtype == dtype and np.array_equal(back, numbers)


def test_eight_clips_with_truth_and_photo_stay_below_five_megabytes(eight: Any) -> None:
    clips, faces = eight
    assert all(clip.photo and clip.truth_vertices_m is not None for clip in clips)
    page = viewer_page(clips, faces, title="eight")
    assert len(page.encode()) <= MOST_BYTES
    assert len(asset("viewer.min.js").encode()) <= MOST_BUNDLE_BYTES


def test_text_of_clips_cannot_become_markup(eight: Any) -> None:
    clips, faces = eight
    hostile = "</script><!--<script><img src=x onerror=alert(1)>\u2028&amp;\"'"
    clip = dataclasses.replace(
        clips[0], title=hostile, text=hostile, note=hostile, figures={hostile: hostile}
    )
    plain, attacked = viewer_page(clips[:1], faces, title="plain"), viewer_page([clip], faces, title=hostile)
    found = Parts(attacked)
    assert found.tags == Parts(plain).tags
    data = json.loads(next(text for tag, text in found.inside if text.startswith("{")))
    assert data["title"] == data["clips"][0]["title"] == data["clips"][0]["note"] == hostile
    assert data["clips"][0]["figures"] == [[hostile, hostile]]


def test_the_policy_allows_this_script_and_style_and_nothing_else(eight: Any) -> None:
    found = Parts(viewer_page(eight[0][:1], eight[1], title="one"))
    rules = dict(rule.split(" ", 1) for rule in found.policy.split("; "))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (text,) = (text for kind, text in found.inside if kind == tag and not text.startswith("{"))
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def test_a_page_sends_only_to_where_it_is_told_to() -> None:
    page = inline_page(title="t", style="", script="", data={}, connect=["http://127.0.0.1:8000"])
    assert "connect-src http://127.0.0.1:8000" in Parts(page).policy


def test_the_page_names_no_other_place(eight: Any) -> None:
    text = viewer_page(eight[0][:1], eight[1], title="one").replace("http://www.w3.org/", "")
    assert not re.search(r'(src|href)="(?!data:)', text) and "@import" not in text


def test_a_large_photo_is_made_smaller_and_its_intrinsics_with_it(eight: Any) -> None:
    content = io.BytesIO()
    Image.new("RGB", (1600, 1200)).save(content, "JPEG")
    clip = dataclasses.replace(eight[0][0], photo=content.getvalue(), camera_K=CAMERA_K * [[2.5], [2.5], [1]])
    photo = clip_payload(clip)["photo"]
    assert (photo["width"], photo["height"], photo["source_width"]) == (640, 480, 1600)
    assert np.allclose(photo["camera_K"], CAMERA_K)


def test_joint_error_is_the_mean_over_joints_in_centimetres(eight: Any) -> None:
    clip = eight[0][0]
    off = dataclasses.replace(clip, truth_joints_m=clip.joints_m + np.array([0.03, 0.04, 0.0]))
    assert np.allclose(clip_payload(off)["joint_error_cm"], 5.0)
    assert clip_payload(dataclasses.replace(clip, truth_joints_m=None))["joint_error_cm"] is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"joints_m": np.zeros((30, 16, 3))},
            r"'clip 0': joints_m has shape \(30, 16, 3\), not \(30, 21, 3\)",
        ),
        ({"truth_vertices_m": np.zeros((29, 778, 3))}, "truth_vertices_m has shape"),
        ({"contact_probability": np.full((30, 778), 1.5)}, r"contact_probability must lie in \[0, 1\]"),
        ({"contact_point_m": np.array([0, np.nan, 1])}, "contact_point_m holds a number that is not finite"),
        ({"object_faces": None}, "object_vertices_m and object_faces go together"),
        ({"object_faces": np.array([[0, 1, 999]])}, "speaks of vertex 999"),
        ({"frames_per_s": 0.0}, "frames_per_s must be above 0"),
        ({"contact_threshold": 2.0}, "contact_threshold must lie"),
        ({"vertices_m": np.zeros((0, 778, 3))}, "holds no frames"),
    ],
)
def test_a_clip_that_does_not_fit_together_is_refused(
    eight: Any, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(eight[0][0], **change)


def test_a_page_that_cannot_be_made_is_refused(eight: Any) -> None:
    clips, faces = eight
    with pytest.raises(ValueError, match="at least one clip"):
        viewer_page([], faces, title="none")
    with pytest.raises(ValueError, match="not a picture"):
        viewer_page([dataclasses.replace(clips[0], photo=b"no")], faces, title="bad photo")
    with pytest.raises(ValueError, match="speaks of vertex 778"):
        viewer_page(clips[:1], np.array([[0, 1, 778]]), title="another hand")


def test_the_bundle_was_built_from_the_sources_beside_it() -> None:
    digest = hashlib.sha256()
    for path in sorted(ASSETS.iterdir()):
        if path.suffix in (".js", ".mjs", ".json") and not path.name.endswith(".min.js"):
            digest.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
    header = (ASSETS / "viewer.min.js").read_text("utf-8")[:2000]
    assert f"from sources {digest.hexdigest()}\n" in header, (
        "the sources changed: run `make viewer` and commit its bundle"
    )


def test_the_bundle_keeps_the_licence_of_what_it_contains() -> None:
    header = (ASSETS / "viewer.min.js").read_text("utf-8").split("*/")[0]
    version = json.loads((ASSETS / "package-lock.json").read_text())["packages"]["node_modules/three"][
        "version"
    ]
    assert f"three.js {version}" in header and "Permission is hereby granted" in header


def test_the_lock_names_no_registry() -> None:
    packages = json.loads((ASSETS / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
