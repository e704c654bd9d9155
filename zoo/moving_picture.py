"""A trajectory as a moving picture: the hand over its photo, and close by on plain ground, coloured by contact."""

from __future__ import annotations

import importlib.util
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import OutputError
from zoo.photo_camera import Camera, Photo

if TYPE_CHECKING:
    from trainables.hand_picture import Square

PANEL_PX, WIDEST_PX = 320, 480
CAPTION_PX = 46
FRAMES_PER_S = 30
REST_S = 0.8  # the last frame stays, so that the end can be seen
GROUND, INK, SOFT, MARK, ACCENT = (241, 239, 234), (29, 28, 26), (102, 98, 91), (0, 122, 94), (140, 41, 129)
_UNCHANGED = 255  # the palette's transparent entry
# Contact from 0 to 1, as zoo/viewer_assets/contact_colours.js has it.
SCALE = np.array(
    [
        [0xEF, 0xE7, 0xDC], [0xFE, 0xCF, 0x92], [0xFE, 0x9F, 0x6D], [0xF7, 0x70, 0x5C], [0xDE, 0x49, 0x68],
        [0xB7, 0x37, 0x79], [0x8C, 0x29, 0x81], [0x64, 0x1A, 0x80], [0x3B, 0x0F, 0x70],
    ]
)  # fmt: skip


def contact_colours(contact_V: np.ndarray) -> np.ndarray:
    """Colours (V,3) between 0 and 1 of contact probabilities (V,)."""
    at = np.linspace(0, 1, len(SCALE))
    return np.stack([np.interp(contact_V, at, SCALE[:, i] / 255) for i in range(3)], axis=1).astype(
        np.float32
    )


def frames(
    trajectory: Any,
    *,
    text: str,
    photo: Photo | None = None,
    camera: Camera | None = None,
    contact_point_m: Sequence[float] | None = None,
) -> np.ndarray:
    """Pictures (T,H,W,3) uint8: where there are a photo and a camera, the hand over the photo at the left; at the right
    the hand alone, as the camera sees it, drawn large."""
    from trainables.hand_picture import is_closed, square_around

    vertices_TV3, faces = np.asarray(trajectory.vertices_m), np.asarray(trajectory.faces)
    contact_TV = np.asarray(trajectory.contact_probability)
    points = vertices_TV3.reshape(-1, 3)
    if contact_point_m is not None:
        points = np.concatenate([points, np.asarray(contact_point_m, np.float32)[None]])
    alone = Image.new("RGB", (PANEL_PX, PANEL_PX), GROUND)
    panels = [_Panel(ground=alone, view=square_around(points), side=PANEL_PX)]
    if photo is not None and camera is not None:
        panels.insert(0, _over_photo(photo, camera))
    width = sum(panel.ground.width for panel in panels)
    width += width % 2  # H.264 wants even sizes
    closed, shown = is_closed(faces), []
    for time, (vertices_V3, contact_V) in enumerate(zip(vertices_TV3, contact_TV, strict=True)):
        sheet, left = Image.new("RGB", (width, PANEL_PX + CAPTION_PX), GROUND), 0
        for panel in panels:
            drawn = panel.drawn(vertices_V3, faces, contact_colours(contact_V), closed, contact_point_m)
            sheet.paste(drawn, (left, (PANEL_PX - drawn.height) // 2))
            left += drawn.width
        _caption(sheet, text, (time + 1) / len(vertices_TV3), time / FRAMES_PER_S)
        shown.append(np.asarray(sheet))
    return np.stack(shown)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A picture to draw the hand on. `view` is what a square of `side` pixels around its middle shows of the plane z = 1;
    y is stretched by `stretch` first, so that pixels that are not square become so."""

    ground: Image.Image
    view: Square
    side: int
    stretch: float = 1.0

    def drawn(
        self,
        vertices_V3: np.ndarray,
        faces: np.ndarray,
        colours_V3: np.ndarray,
        closed: bool,
        contact_point_m: Sequence[float] | None,
    ) -> Image.Image:
        from trainables.hand_picture import Square, draw_mesh

        panel = self.ground.copy()
        square = np.array([1, self.stretch, 1], np.float32)
        corner = np.array([(self.side - length) // 2 for length in panel.size])  # the ground's, in the square
        at_V2 = self.view.pixels(vertices_V3 * square, self.side) - corner
        # Only where the hand is: a small picture is drawn many times as fast.
        low = np.clip(np.floor(at_V2.min(0)) - 1, 0, panel.size).astype(int)
        high = np.clip(np.ceil(at_V2.max(0)) + 1, 0, panel.size).astype(int)
        size = int((high - low).max())
        if (high > low).all():
            unit = 2 * self.view.half / self.side
            centre = (low + corner + size / 2 - self.side / 2) * unit + [self.view.x, self.view.y]
            part = Square(float(centre[0]), float(centre[1]), self.view.half * size / self.side)
            hand = draw_mesh(vertices_V3 * square, faces, colours_V3, part, size, closed=closed)
            picture = Image.fromarray(hand)
            panel.paste(picture, (int(low[0]), int(low[1])), picture)
        if contact_point_m is not None:
            x, y = self.view.pixels(np.asarray(contact_point_m, np.float32) * square, self.side) - corner
            _mark(panel, float(x), float(y))
        return panel


def gif(pictures_THW3: np.ndarray) -> bytes:
    """An endless GIF in real time. All frames share one palette and hold what has changed alone: half a megabyte."""
    palette = _palette(pictures_THW3)
    shown = [
        np.asarray(Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE))
        for picture in pictures_THW3
    ]
    changes = [np.where(now == before, _UNCHANGED, now) for before, now in itertools.pairwise(shown)]
    frames = []
    for indices in [shown[0], *changes]:
        frame = Image.fromarray(indices.astype(np.uint8))
        frame.putpalette(palette.getpalette() or [])
        frame.info["transparency"] = _UNCHANGED
        frames.append(frame)
    # GIF counts hundredths of a second: 3, 3 and 4 of them are three frames.
    every_ms = [40 if i % 3 == 2 else 30 for i in range(len(frames))]
    every_ms[-1] = int(1000 * REST_S)
    buffer = io.BytesIO()
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=frames[1:], duration=every_ms, loop=0, disposal=1,
        optimize=False,
    )  # fmt: skip
    return buffer.getvalue()


def _palette(pictures_THW3: np.ndarray) -> Image.Image:
    """255 colours: those of the contact scale in three lights and of the marks, and the commonest of the pictures."""
    ramp = contact_colours(np.linspace(0, 1, 24)) * 255
    own = np.concatenate([ramp, 0.75 * ramp, 0.5 * ramp, [MARK, ACCENT, INK, GROUND, (255, 255, 255)]])
    some = np.concatenate(pictures_THW3[[0, len(pictures_THW3) // 2, -1]])
    common = Image.fromarray(some).quantize(_UNCHANGED - len(own), method=Image.Quantize.MEDIANCUT)
    colours = [*own.round().astype(int).ravel().tolist(), *(common.getpalette() or [])]
    palette = Image.new("P", (1, 1))
    palette.putpalette((colours + [0] * 768)[: 3 * _UNCHANGED] + [0, 0, 0])
    return palette


def check_mp4() -> None:
    """Raises OutputError where PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        raise OutputError("MP4 needs PyAV, which is not here: pip install 'av>=18,<19', or take the GIF.")


def mp4(pictures_THW3: np.ndarray) -> bytes:
    """H.264 in MP4 in real time. Raises OutputError where PyAV is not installed."""
    check_mp4()
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_S, options={"crf": "20"})
        stream.height, stream.width = pictures_THW3.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in [*pictures_THW3, *[pictures_THW3[-1]] * int(REST_S * FRAMES_PER_S)]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _over_photo(photo: Photo, camera: Camera) -> _Panel:
    """The photo, made to fit, as its camera sees it."""
    from trainables.hand_picture import Square

    scale = min(PANEL_PX / photo.height, WIDEST_PX / photo.width)
    width, height = (max(1, round(side * scale)) for side in (photo.width, photo.height))
    ground = Image.fromarray(photo.pixels).resize((width, height), Image.Resampling.LANCZOS)
    side = max(width, height)
    centre_x = ((photo.width - 1) / 2 - camera.cx) / camera.fx
    centre_y = ((photo.height - 1) / 2 - camera.cy) / camera.fx  # of y stretched by fy / fx
    half = side / scale / 2 / camera.fx
    return _Panel(
        ground=ground, view=Square(centre_x, centre_y, half), side=side, stretch=camera.fy / camera.fx
    )


def _mark(panel: Image.Image, x: float, y: float) -> None:
    """The contact point: a ring that is seen on light and on dark."""
    draw = ImageDraw.Draw(panel)
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=(255, 255, 255), width=4)
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=MARK, width=2)


def _caption(sheet: Image.Image, text: str, share: float, time_s: float) -> None:
    draw, top = ImageDraw.Draw(sheet), sheet.height - CAPTION_PX
    font, small = ImageFont.load_default(14), ImageFont.load_default(11)
    draw.rectangle((0, top, sheet.width, sheet.height), fill=(255, 255, 255))
    draw.rectangle((0, top, sheet.width * share, top + 2), fill=ACCENT)
    room = sheet.width - 130
    while text and draw.textlength(text, font) > room:
        text = text[:-2].rstrip(" …") + "…"
    draw.text((10, top + 7), text, INK, font)
    draw.text((10, top + 27), f"{time_s:.2f} s", SOFT, small)
    left = sheet.width - 110
    ramp = Image.fromarray(
        (contact_colours(np.linspace(0, 1, 100))[None].repeat(8, 0) * 255).astype(np.uint8)
    )
    sheet.paste(ramp, (left, top + 12))
    draw.text((left, top + 25), "0", SOFT, small)
    draw.text((left + 50, top + 25), "contact", SOFT, small, anchor="ma")
    draw.text((left + 94, top + 25), "1", SOFT, small)
