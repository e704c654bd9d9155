"""Every layout that an importer reads, small and whole, with what of it is read: for tests that damage it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.damage import FIELD_DAMAGES, FILE_DAMAGES, Key
from tests.foreign.arctic import write_arctic
from tests.foreign.dexycb import MASTER, write_dexycb_official, write_dexycb_pack
from tests.foreign.fpha import write_fpha
from tests.foreign.ho3d import write_ho3d
from tests.foreign.holoassist import LABELS, write_holoassist
from tests.foreign.latentact_release import write_latentact_release
from trainables.arctic import import_arctic
from trainables.dexycb import import_dexycb
from trainables.fpha import import_fpha
from trainables.ho3d import import_ho3d
from trainables.holoassist import import_holoassist
from trainables.latentact_release import import_latentact_release

Import = Callable[[Path, Path], dict[str, Any]]
FRAMES = 34
FILES = tuple(FILE_DAMAGES)
NUMBERS = ("missing field", "wrong shape", "wrong type", "not finite")
METRES = (*NUMBERS, "wrong unit")
MESH = (
    "truncated",
)  # an OBJ says nowhere how many faces it has: one that ends between two lines is a smaller mesh
NAME = ("missing field", "wrong type", "path escape")


@dataclass(frozen=True)
class Target:
    """A file by its pattern; a field of it, () for its whole content, None for its bytes; the damage that is done.

    quiet: kinds that leave something that nobody can tell from the truth (another text, a smaller angle).
    """

    pattern: str
    key: Key | None
    kinds: tuple[str, ...]
    quiet: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    write: Callable[[Path], tuple[Path, Import]]
    targets: list[Target] = field(default_factory=list)


def _quiet(**options: Any) -> dict[str, Any]:
    return {"workers": 1, "show_progress": False, **options}


def _official(root: Path) -> tuple[Path, Import]:
    made = write_dexycb_official(root, frames=FRAMES)
    return made.source, lambda source, dest: import_dexycb(source, dest, **_quiet(mano_path=made.mano))


def _pack(root: Path) -> tuple[Path, Import]:
    return write_dexycb_pack(root, frames=FRAMES), lambda source, dest: import_dexycb(
        source, dest, **_quiet()
    )


def _arctic(root: Path) -> tuple[Path, Import]:
    made = write_arctic(root, frames=FRAMES)
    return made.source, lambda source, dest: import_arctic(source, dest, **_quiet(mano_path=made.mano))


def _release(root: Path) -> tuple[Path, Import]:
    write_latentact_release(root, files=("contact_0_100_fix.pkl", "contact_100_200_fix.pkl"), clips=6)
    return root, lambda source, dest: import_latentact_release(source, dest, **_quiet())


def _ho3d(root: Path) -> tuple[Path, Import]:
    write_ho3d(root, frames=FRAMES)
    return root, lambda source, dest: import_ho3d(source, dest, **_quiet())


def _fpha(root: Path) -> tuple[Path, Import]:
    write_fpha(root, frames=FRAMES)
    return root, lambda source, dest: import_fpha(source, dest, **_quiet())


def _holoassist(root: Path) -> tuple[Path, Import]:
    write_holoassist(root)
    return root, lambda source, dest: import_holoassist(source, dest, **_quiet(image_px=32))


def _each(
    pattern: str, names: tuple[str, ...], kinds: tuple[str, ...], *before: Any, quiet: tuple[str, ...] = ()
) -> list[Target]:
    return [Target(pattern, (*before, name), kinds, quiet) for name in names]


ONE = "*-subject-01/*_141754"
EGO = "raw_seqs/s02/*.egocam.dist.npy"
CONTACT = "downloads/holo_contact_dir/contact_0_*.pkl"
SM2 = "train/SM2/meta/0008.pkl"
GOPRO = "R901-*/Export_py"
LAYOUTS: dict[str, Layout] = {
    "dexycb, official": Layout(_official, [
        Target(f"{ONE}/meta.yml", None, FILES), Target(f"{ONE}/pose.npz", None, FILES),
        Target("calibration/extrinsics_*/extrinsics.yml", None, FILES),
        Target("calibration/mano_*right/mano.yml", None, FILES),
        Target("models/002_master_chef_can/textured_simple.obj", None, FILES, MESH),
        *_each(f"{ONE}/meta.yml", ("mano_calib", "extrinsics", "mano_sides"), NAME),
        *_each(f"{ONE}/meta.yml", ("ycb_ids", "ycb_grasp_ind"), NUMBERS),
        *_each(f"{ONE}/pose.npz", ("pose_m", "pose_y"), METRES),
        Target("calibration/extrinsics_*/extrinsics.yml", ("master",), NAME),
        Target("calibration/extrinsics_*/extrinsics.yml", ("extrinsics", MASTER), NUMBERS),
        Target("calibration/mano_*right/mano.yml", ("betas",), NUMBERS),
    ]),
    "dexycb, pack": Layout(_pack, [
        Target("dexycb_hand_object.npz", None, FILES), Target("sequences.json", None, FILES),
        Target("ycb_meshes/002_master_chef_can.ply", None, FILES),
        Target("dexycb_hand_object.npz", ("obj_trans",), METRES),
        # What stands there in frames without a hand is not read.
        *_each("dexycb_hand_object.npz", ("joints", "joint_obj_dist"), METRES, quiet=("not finite",)),
        *_each("dexycb_hand_object.npz", ("obj_rotvec", "hand_valid"), NUMBERS),
        *_each("sequences.json", ("seq", "object", "side"), NAME, 0, quiet=("path escape", "wrong type")),
        *_each("sequences.json", ("start", "length", "subject", "first_contact", "first_lift"), ("missing field", "wrong type"), 0),
    ]),
    "arctic": Layout(_arctic, [
        Target("raw_seqs/s02/*.mano.npy", None, FILES), Target("raw_seqs/s02/*.object.npy", None, FILES),
        Target(EGO, None, FILES), Target("meta/object_vtemplates/box/mesh.obj", None, FILES, MESH),
        Target("meta/object_vtemplates/box/parts.json", None, FILES),
        *_each("raw_seqs/s02/*.mano.npy", ("rot", "pose"), NUMBERS, "right"),
        # A shape for every frame is read, too.
        Target("raw_seqs/s02/*.mano.npy", ("right", "shape"), NUMBERS, ("wrong shape",)),
        Target("raw_seqs/s02/*.mano.npy", ("right", "trans"), NUMBERS),
        Target("raw_seqs/s02/*.mano.npy", ("right",), ("missing field", "wrong type")),
        Target("raw_seqs/s02/*.object.npy", (), ("wrong shape", "wrong type", "not finite")),
        *_each(EGO, ("R_k_cam_np", "T_k_cam_np"), NUMBERS),
        Target("meta/object_vtemplates/box/parts.json", (), ("wrong shape", "wrong type")),
    ]),
    "latentact-release": Layout(_release, [
        Target(CONTACT, None, FILES), Target("downloads/holo_video_feats/*_0.pkl", None, FILES), Target("settings.json", None, FILES),
        *_each(CONTACT, ("names", "ranges", "tasks", "thetas", "betas", "cam_t", "joints_cam", "rel_c2c", "contacts", "contact_maps"), ("missing field", "wrong type")),
        *[Target(CONTACT, (name, 1), ("wrong shape", "wrong type", "not finite")) for name in ("thetas", "betas", "cam_t", "joints_cam", "rel_c2c")],
        Target(CONTACT, ("joints_cam", 1), ("wrong unit",)),
        Target("settings.json", ("categories",), ("missing field", "wrong type")),
    ]),
    "ho3d": Layout(_ho3d, [
        Target(SM2, None, FILES), Target("models/006_mustard_bottle/textured_simple.obj", None, FILES, MESH),
        *_each(SM2, ("handJoints3D", "handTrans", "objTrans"), NUMBERS),
        *_each(SM2, ("handPose", "handBeta", "objRot"), NUMBERS),
        Target(SM2, ("objName",), NAME),
    ]),
    "fpha": Layout(_fpha, [
        Target("Hand_pose_*/Subject_1/open_milk/1/skeleton.txt", None, FILES),
        Target("Object_6D_*/Subject_1/open_milk/1/object_pose.txt", None, FILES),
        Target("Object_models/milk_model/milk_model.ply", None, FILES),
        Target("Hand_pose_*/Subject_1/open_milk/1/skeleton.txt", (5,), ("wrong shape", "wrong type")),
        Target("Hand_pose_*/Subject_1/open_milk/1/skeleton.txt", (5, 4), ("not finite", "missing field", "wrong type")),
        Target("Object_6D_*/Subject_1/open_milk/1/object_pose.txt", (5, 4), ("not finite", "missing field", "wrong type")),
    ]),
    "holoassist": Layout(_holoassist, [
        Target(LABELS, None, FILES), Target(f"{GOPRO}/Video/Pose_sync.txt", None, FILES), Target(f"{GOPRO}/Hands/Right_sync.txt", None, FILES),
        Target(f"{GOPRO}/Video/Intrinsics.txt", None, FILES), Target(f"{GOPRO}/Video_pitchshift.mp4", None, FILES),
        Target(LABELS, (0, "video_name"), NAME), Target(LABELS, (0, "events"), ("missing field", "wrong type")),
        *_each(LABELS, ("start", "end"), NUMBERS, 0, "events", 2),
        *[Target(f"{GOPRO}/{name}", (5, 6), ("not finite", "missing field", "wrong type")) for name in ("Video/Pose_sync.txt", "Hands/Right_sync.txt")],
        Target(f"{GOPRO}/Video/Intrinsics.txt", (0, 0), ("not finite", "missing field", "wrong type")),
    ]),
}  # fmt: skip
assert {kind for layout in LAYOUTS.values() for target in layout.targets for kind in target.kinds} == {
    *FILE_DAMAGES,
    *FIELD_DAMAGES,
}
