"""What a job brings along: the working folder, uncommitted changes included, as one small archive.

    ray job submit --working-dir "$(python -m cluster.job_package)" -- python sweeps/codebook_size.py ...

`--working-dir .` brings the same files, but Ray stores them without compression: four times as many bytes. Which files
they are is decided by Ray's own rules in both cases: `.gitignore`, `.rayignore`, and its default exclusions.
"""

import contextlib
import io
import logging
import os
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import click

MAX_UPLOAD_BYTES = 1_000_000


@dataclass(frozen=True)
class Package:
    """A packed working folder: where the archive lies, its size, and (name, bytes) of its files before packing."""

    path: Path
    packed_bytes: int
    files: tuple[tuple[str, int], ...]

    def largest(self) -> str:
        return ", ".join(name for name, _ in sorted(self.files, key=lambda file: -file[1])[:3])


def pack(folder: Path, target: Path) -> Package:
    """Write what Ray would upload of a folder to `target` (a .tar.xz, replaced whole)."""
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    folder, target = folder.absolute(), target.absolute()
    excludes = list(get_runtime_env_default_excludes())
    if target.is_relative_to(folder):
        # The last package is no part of the next one.
        excludes.append(str(target.relative_to(folder)))
    files = []
    with contextlib.ExitStack() as stack:
        stored = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stored.zip"
        create_package(str(folder), stored, include_gitignore=True, excludes=excludes, logger=_quiet())
        # Beside the target, and made only now: what Ray has listed holds none of it.
        packed = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent))) / target.name
        with zipfile.ZipFile(stored) as source, tarfile.open(packed, "w:xz", preset=9) as archive:
            for entry in sorted(source.infolist(), key=lambda entry: entry.filename):
                if entry.is_dir():
                    continue
                # No time and no owner: the same files make the same archive, which Ray then finds already uploaded.
                copy = tarfile.TarInfo(entry.filename)
                copy.size, copy.mode = entry.file_size, (entry.external_attr >> 16) & 0o777
                archive.addfile(copy, io.BytesIO(source.read(entry)))
                files.append((entry.filename, entry.file_size))
        os.replace(packed, target)
    return Package(target, target.stat().st_size, tuple(files))


def listing(package: Package) -> str:
    """One line a top-level entry, the largest first, and the sum."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, size in package.files:
        top = name.split("/")[0] + ("/" if "/" in name else "")
        count, total = sizes.get(top, (0, 0))
        sizes[top] = count + 1, total + size
    lines = [
        f"  {total / 1e3:8.1f} kB  {top}{f' ({count} files)' if top.endswith('/') else ''}"
        for top, (count, total) in sorted(sizes.items(), key=lambda item: -item[1][1])
    ]
    whole = sum(size for _, size in package.files)
    lines.append(f"  {package.packed_bytes / 1e3:8.1f} kB  uploaded ({whole / 1e3:.1f} kB before packing)")
    return "\n".join(lines)


def _quiet() -> logging.Logger:
    logger = logging.getLogger("latentact.job_package")
    logger.setLevel(logging.ERROR)
    return logger


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: FOLDER/build/job.tar.xz]"
)
def main(folder: Path, output: Path | None) -> None:
    target = output or folder / "build" / "job.tar.xz"
    target.parent.mkdir(parents=True, exist_ok=True)
    package = pack(folder, target)
    click.echo(listing(package), err=True)
    if package.packed_bytes > MAX_UPLOAD_BYTES:
        largest = package.largest()
        click.echo(
            f"warning: more than 1 MB; the largest are {largest}: .rayignore leaves them at home", err=True
        )
    click.echo(package.path)


if __name__ == "__main__":
    main()
