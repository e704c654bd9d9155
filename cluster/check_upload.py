"""A working folder: what a job would upload of it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.check_finding import Finding, Sheet
from cluster.check_secrets import secrets_in
from cluster.job_package import MAX_UPLOAD_BYTES, Package, listing, pack

_LARGE_FILE_BYTES = 200_000


def findings(folder: Path, sheet: Sheet) -> tuple[str, list[Finding]]:
    """The listing of the upload, and what is wrong with it."""
    with tempfile.TemporaryDirectory() as temporary:
        package = pack(folder, Path(temporary) / "job.tar.xz")
    return listing(package), list(_wrong(folder, package, sheet))


def _wrong(folder: Path, package: Package, sheet: Sheet) -> Iterator[Finding]:
    if package.packed_bytes > MAX_UPLOAD_BYTES:
        problem = f"{package.packed_bytes / 1e6:.1f} MB would be uploaded with every job, 1 MB is the limit"
        remedy = f"leave at home what a job needs none of; the largest are {package.largest()}"
        yield sheet.error(".rayignore", problem, remedy)
    for name, size in package.files:
        if size > _LARGE_FILE_BYTES:
            problem = f"{name} ({size / 1e6:.1f} MB) would be uploaded with every job"
            yield sheet.warning(".rayignore", problem, f"/{name}, if no job needs it")
        if name.endswith((".env", ".pem", ".key", "credentials")):
            problem = f"{name} looks like a secret, and would be uploaded with every job"
            yield sheet.error(
                ".rayignore", problem, f"/{name}, and a 0600 file in the fleet's secrets' folder"
            )
        if name.endswith((".yaml", ".yml", ".toml", ".json", ".sh")):
            inner = Sheet(f"{sheet.name}/{name}")
            yield from secrets_in((folder / name).read_text(errors="replace"), inner)
