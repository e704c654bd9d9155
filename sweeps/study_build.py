"""A user study as a folder: what raters get, and apart from it the key that says which motion is whose.

    STUDY/public/       the page: from a disk, from any static server, or from `python -m sweeps.study serve STUDY`
    STUDY/design.json   pairs and sequences by opaque ids: what answers are checked against
    STUDY/key.json      whose motion is whose, the clips, the models, the rule for raters; served by nothing
    STUDY/votes.sqlite  answers, once there are some

Everything in public/ is blind: no name of a model, of a clip or of a group, no figure, no order that follows the key. It
holds skin of the hand model and photos of the data set. The folder is whole or absent.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sweeps.cross_data import Asked
from sweeps.errors import SweepError
from sweeps.opened_model import OpenedModel
from sweeps.study_design import Pair, Sizes, make_pairs, schedule
from sweeps.study_motions import (
    Motion,
    Scene,
    check_models,
    check_scenes,
    choose_windows,
    predicted_scenes,
)
from sweeps.study_votes import DESIGN, KEY, PUBLIC
from trainables.clips import Clips
from zoo.inline_page import asset, json_in_html
from zoo.viewer import ViewerClip, clip_payload, faces_payload

TRUTH = "truth"
QUESTION = "Which motion fits {given} better?"
_PAGE_FILES = ("study.css", "answers.js", "stage.js", "study.js")
_SCREEN_S = 12  # looking twice or three times, and answering


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a study is to be; see the options of the command."""

    asked: Asked
    pairs: int
    sizes: Sizes
    seed: int
    ties: bool
    question: str  # "" for the usual one
    about: tuple[str, ...]  # paragraphs; () for the usual ones
    failed_checks: int  # allowed
    endpoint: str  # "" for none


def build_study(
    folder: Path,
    opened: dict[str, OpenedModel],
    names: dict[str, str],
    clips: Clips,
    request: Request,
    *,
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write the study and return its key. `opened` has no entry for the truth, `names` has both.

    Raises:
        SweepError: the folder is taken, models and data do not go together, or there are too few clips.
        ClipsError, EncoderError: as for an evaluation.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(
            f"--out {folder} is there already: a study is never written over; give another folder."
        )
    asked, sizes = request.asked, request.sizes
    models = list(opened.values())
    notes = check_models(models, clips, asked)
    hand, length = models[0].model.hand, models[0].model.config.window
    chosen, checked, group = choose_windows(
        clips, asked, length=length, count=request.pairs, checks=sizes.checks, seed=request.seed
    )
    if len(chosen) < request.pairs:
        raise SweepError(
            f"--pairs {request.pairs}: there are {len(chosen)} clips whose camera is known over a window of {length} "
            "frames; ask for that many, or choose another part."
        )
    say(
        f"predicting {len(chosen)} clips of {len({str(clips.groups[group][c]) for c, _ in chosen})} groups ({group})"
    )
    if len(checked) < sizes.checks:
        raise SweepError(
            f"--checks {sizes.checks}: there are {len(checked)} clips to make them of; ask for that many at the most."
        )
    truth_as = next((source for source, name in names.items() if name == TRUTH), None)
    scenes, said = predicted_scenes(opened, truth_as, clips, chosen, group, asked, hand, device)
    scenes += check_scenes(clips, checked, length, group, asked, hand, request.seed)
    salt = secrets.token_hex(16)
    made = make_pairs(salt, len(chosen), len(checked))
    order = sorted(range(len(made)), key=lambda i: made[i].pair)
    pairs, scenes = [made[i] for i in order], [scenes[i] for i in order]
    slots = schedule(pairs, sizes, salt)
    design = _design(request, pairs, scenes, [[[p.pair, p.left] for p in slot] for slot in slots])
    key = {
        "schema": 1,
        "study": design["study"],
        "names": names,
        "models": {source: one.record() for source, one in opened.items()},
        "data": {"name": clips.name, "digest": clips.digest, "hand": clips.hand},
        "asked": asdict(asked) | {"group": group},
        "sizes": asdict(sizes) | {"pairs": request.pairs},
        "seed": request.seed,
        "salt": salt,
        "rule": {"failed_checks_allowed": request.failed_checks, "least_screens": (sizes.presentations + 1) // 2},
        "notes": list(dict.fromkeys(notes + said)),
        "pairs": [
            {
                "pair": pair.pair, "kind": "check" if pair.check else "pair", "clip": scene.clip_id, "start": scene.start,
                "group": scene.group, "text": scene.text, "motions": pair.sources,
            }
            for pair, scene in zip(pairs, scenes, strict=True)
        ],
    }  # fmt: skip
    say(f"writing {folder}")
    public = design | {"faces": faces_payload(hand.faces.cpu().numpy(), vertices=len(hand.v_template))}
    _write(folder, design, public, key, pairs, scenes, request.endpoint)
    return key


def _design(
    request: Request, pairs: Sequence[Pair], scenes: Sequence[Scene], slots: list[Any]
) -> dict[str, Any]:
    photos = all(scene.photo_png for scene in scenes)
    given = "the photo and the words" if photos else "the words"
    minutes = max(1, round(request.sizes.presentations * _SCREEN_S / 60))
    design = {
        "schema": 1,
        "question": request.question or QUESTION.format(given=given),
        "about": list(request.about) or _about(minutes),
        "ties": request.ties,
        "photos": photos,
        "contact": any(motion.contact.any() for scene in scenes for motion in scene.motions.values()),
        "pairs": [{"id": pair.pair, "motions": list(pair.motions)} for pair in pairs],
        "slots": slots,
    }
    digest = hashlib.sha256(json.dumps(design, sort_keys=True).encode()).hexdigest()
    return {"study": digest[:12], **design}


def _about(minutes: int) -> list[str]:
    return [
        (
            "This is a study of how natural computed hand motions look. You need to know nothing about it, and there are "
            f"no right or wrong answers. It takes about {minutes} minute{'s' if minutes > 1 else ''}."
        ),
        (
            "What is kept: your answers, how long each took, and a random number in place of your name. Nothing else: no "
            "name, no address, nothing about your device. Taking part is up to you, and you can stop at any time by "
            "closing the page; opened again in the same browser, it goes on where you were."
        ),
    ]


def _write(
    folder: Path,
    design: dict[str, Any],
    public: dict[str, Any],
    key: dict[str, Any],
    pairs: Sequence[Pair],
    scenes: Sequence[Scene],
    endpoint: str,
) -> None:
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    staged = Path(
        tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name[:16]}-", suffix=".partial")
    )
    try:
        shown = staged / PUBLIC
        (shown / "pairs").mkdir(parents=True)
        own = resources.files("sweeps") / "study_assets"
        for name in _PAGE_FILES:
            (shown / name).write_text((own / name).read_text("utf-8"), "utf-8")
        page = (own / "index.html").read_text("utf-8")
        for mark, value in (("@CONNECT@", _origin(endpoint)), ("@ENDPOINT@", endpoint)):
            page = page.replace(mark, html.escape(value))
        (shown / "index.html").write_text(page, "utf-8")
        (shown / "viewer.min.js").write_text(asset("viewer.min.js"), "utf-8")
        (shown / "design.js").write_text(f"window.LATENTACT_STUDY = {json_in_html(public)};\n", "utf-8")
        for pair, scene in zip(pairs, scenes, strict=True):
            data = json_in_html(_pair_data(pair, scene))
            (shown / "pairs" / f"{pair.pair}.js").write_text(f"LATENTACT_PAIR({data});\n", "utf-8")
        (staged / DESIGN).write_text(json.dumps(design), "utf-8")
        (staged / KEY).write_text(json.dumps(key, indent=1), "utf-8")
        (staged / KEY).chmod(0o600)
        staged.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(staged, folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _pair_data(pair: Pair, scene: Scene) -> dict[str, Any]:
    """What the page gets to show one pair; both motions in the same form."""
    shown = {
        motion: clip_payload(_clip(scene, scene.motions[source])) for motion, source in pair.sources.items()
    }
    photos = [payload.pop("photo") for payload in shown.values()]  # the same for both, shown once
    return {
        "id": pair.pair,
        "text": scene.text,
        "photo": photos[0]["url"] if photos[0] else None,
        "motions": dict(sorted(shown.items())),
    }


def _clip(scene: Scene, motion: Motion) -> ViewerClip:
    return ViewerClip(
        title="",
        text="",
        vertices_m=motion.vertices_m,
        contact_probability=motion.contact.astype(float),
        joints_m=motion.joints_m,
        contact_point_m=scene.point_m,
        photo=scene.photo_png,
    )


def _origin(endpoint: str) -> str:
    """Scheme and host of an address, which is all that a page's policy may be told."""
    return "/".join(endpoint.split("/")[:3])
