"""Names of files in a bundle: which ones are accepted, and what kind and how large each may be.

A list of what is allowed, not of what is known to be bad. Only ASCII letters, digits and `_ - .` make a name, so
that no two names can look alike, normalise to one, lead elsewhere or mean a device, on any file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo.errors import FileRefused, PathRefused, PickleRefused, TooLarge

MAX_FILES = 1000
MAX_PATH = 200  # characters
MAX_PARTS = 6
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MAX_BUNDLE_BYTES = 64 * GIB

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy", ".npz"}
# Kind -> largest size in bytes. What is read into memory is small; weights are only ever streamed.
KINDS = {
    ".safetensors": MAX_BUNDLE_BYTES,
    ".json": 16 * MIB,
    ".md": MIB,
    ".txt": MIB,
    ".svg": 8 * MIB,
    ".png": 32 * MIB,
}
LIMITS = {"MLmodel": 64 * KIB, "config.json": MIB}  # files with a limit of their own

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE)


def check_path(path: str) -> None:
    """Raise PathRefused unless `path` is a plain relative name that means the same file on every machine."""
    reason = ""
    parts = path.split("/")
    if len(path) > MAX_PATH or len(parts) > MAX_PARTS:
        reason = f"is longer than {MAX_PATH} characters or has more than {MAX_PARTS} parts"
    elif not all(_PART.fullmatch(part) for part in parts):
        reason = "leads out of the bundle or is no plain name"
    elif any(part.endswith(".") or _DEVICE.fullmatch(part) for part in parts):
        reason = "means something else on Windows"
    elif path.casefold() == "manifest.json":
        reason = "is the manifest's own name"
    if reason:
        raise PathRefused(
            f"The file name {path[:MAX_PATH]!r} {reason}: use letters, digits, '_', '-' and '.', with '/' between folders."
        )


def check_paths(paths: Iterable[str]) -> None:
    """Check every path, and that no two are one on a file system that ignores case. Raises PathRefused, FileRefused."""
    seen: dict[str, str] = {}  # folded path of a file or of a folder (ending in /) -> its spelling
    for count, path in enumerate(paths):
        if count == MAX_FILES:
            raise FileRefused(f"The bundle has more than {MAX_FILES} files: keep only what a reader needs.")
        check_path(path)
        if path.casefold() in seen or f"{path.casefold()}/" in seen:
            raise PathRefused(
                f"The bundle names {path!r} twice, or as a file and a folder: rename one of the two."
            )
        seen[path.casefold()] = path
        parts = path.split("/")
        for i in range(1, len(parts)):
            folder = "/".join(parts[:i])
            if folder.casefold() in seen or seen.setdefault(f"{folder.casefold()}/", folder) != folder:
                raise PathRefused(
                    f"The folder {folder!r} of the bundle comes twice, or is a file too: rename one of the two."
                )


def suffix(path: str) -> str:
    """The kind of a file: `.json` of `figures/curve.json`, in lower case; empty where it has none."""
    name = path.rsplit("/", 1)[-1]
    return f".{name.rsplit('.', 1)[1].lower()}" if "." in name else ""


def limit(path: str) -> int:
    """The largest size of a file in bytes; 0 where no bundle holds such a file."""
    return LIMITS.get(path, KINDS.get(suffix(path), 0))


def check_kind(path: str, size: int) -> None:
    """Raise PickleRefused, FileRefused or TooLarge unless a bundle may hold `path` with `size` bytes."""
    kind = suffix(path)
    if kind in PICKLE_SUFFIXES:
        raise PickleRefused(
            f"'{path}' has the suffix {kind}: the zoo stores no pickles, since loading one runs its code. Save the "
            "weights with safetensors."
        )
    if not (most := limit(path)):
        raise FileRefused(f"'{path}' is of no kind that a bundle holds ({', '.join(KINDS)}): leave it out.")
    if size > most:
        raise TooLarge(f"'{path}' has {size} bytes, and such a file may have {most}: make it smaller.")
