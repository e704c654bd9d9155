"""Put the versions of an archive (`zoo.archive`) into a store, which may be another zoo's.

A version keeps its number. Bytes that the zoo has already keep the number that they have there. A number that other
bytes have is a Conflict, found before anything is written, since `name@3` should mean the same everywhere; with
`renumber` such a version takes the next free number instead.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zoo import alias_log, archive_reader, bundle, gate, layout, store_probe
from zoo.archive_index import ArchivedAlias, ArchivedVersion
from zoo.archive_reader import Archive
from zoo.cache import check_room, staging, unwritable
from zoo.errors import Conflict, DamagedBundle
from zoo.promotion import announced
from zoo.publishing import listed_figures, mirrored, store_version
from zoo.store import Store, open_store, to_json

ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A version of an archive and where it is now. `new` is False where the store had it already; `note` says what
    is not as in the archive; `aliases` were moved to it."""

    name: str
    version: int
    digest: str
    new: bool
    archived_version: int
    note: str = ""
    aliases: tuple[str, ...] = ()
    registry_error: str = ""


def import_archive(
    path: str | os.PathLike[str],
    *,
    aliases: bool = False,
    renumber: bool = False,
    store: Store | None = None,
) -> list[Imported]:
    """Put every version of the archive at `path` into the store; with `aliases`, move its aliases there too.

    The whole archive is verified before anything is written. Each version is put in place as by `publish`: its files,
    its manifest, its number. What is there already is not sent again, so that an import that was interrupted is done
    again. Aliases move by compare-and-swap and are logged; no gate is asked, as it was where they come from.

    Raises BundleError for an archive that is damaged or hostile, Conflict for a number that is taken, CacheError where
    the cache has no room to unpack one version, UnsafeStore, StoreError.
    """
    with archive_reader.opened(Path(path)) as archive:
        store = store or open_store()
        store_probe.check(store)
        known = {name: _known(store, name) for name in {version.name for version in archive.index.versions}}
        if not renumber:
            _check_numbers(archive.index.versions, known)
        done = [
            _import_version(store, archive, version, known[version.name])
            for version in archive.index.versions
        ]
    if aliases:
        for alias in archive.index.aliases:
            done = [_import_alias(store, alias, each) for each in done]
    untold = {each.name for each in done if not each.aliases}
    errors = {name: mirrored(store, name, f"{name} is imported") for name in sorted(untold)}
    return [replace(each, registry_error=each.registry_error or errors.get(each.name, "")) for each in done]


def _known(store: Store, name: str) -> dict[int, str]:
    """Number -> digest of the versions that the store has."""
    return {int(record["number"]): str(record["digest"]) for record in layout.records(store, name)}


def _check_numbers(versions: tuple[ArchivedVersion, ...], known: dict[str, dict[int, str]]) -> None:
    taken = [
        f"{version.name}@{version.number}"
        for version in versions
        if version.digest not in known[version.name].values() and version.number in known[version.name]
    ]
    if taken:
        raise Conflict(
            f"{', '.join(taken[:5])}{' ...' if len(taken) > 5 else ''}: this zoo has other bytes under that number, and "
            "nothing was imported. Give the versions new numbers with --renumber."
        )


def _import_version(
    store: Store, archive: Archive, version: ArchivedVersion, known: dict[int, str]
) -> Imported:
    number = next((number for number, digest in known.items() if digest == version.digest), None)
    new = number is None or not _is_whole(store, version, number)
    if new:
        number = _put(store, archive, version, keep_number=version.number not in known)
        known[number] = version.digest
    assert number is not None
    note = "" if number == version.number else f"it is version {version.number} in the archive"
    return Imported(
        name=version.name, version=number, digest=version.digest, new=new, archived_version=version.number, note=note
    )  # fmt: skip


def _is_whole(store: Store, version: ArchivedVersion, number: int) -> bool:
    with suppress(DamagedBundle):
        alias_log.check_whole(store, version.name, number, version.digest)
        return True
    return False


def _claim(store: Store, version: ArchivedVersion) -> None:
    """Let this digest look for its number from the archive's on (`zoo.numbering`)."""
    with suppress(Conflict):  # it was published here, or is being published, under a number of its own
        store.put_if(
            layout.claim_key(version.name, version.digest),
            to_json({"schema": 1, "after": version.number - 1}),
            None,
        )


def _put(store: Store, archive: Archive, version: ArchivedVersion, *, keep_number: bool) -> int:
    """Unpack one version, check it as a publisher would, and publish it."""
    manifest = archive.manifests[version.digest]
    check_room(manifest.size)
    with staging() as folder:
        try:
            folder.mkdir()
            archive.unpack(version.digest, folder)
        except OSError as error:
            raise unwritable(error) from error
        bundle.verify(folder)
        bundle.check_name(version.name, bundle.read_json_file(folder, bundle.CONFIG))
        metrics = bundle.read_json_file(folder, bundle.METRICS)
        gate.check_clips(metrics)
        record = {
            "tags": version.tags,
            "figures": listed_figures(metrics),
            "imported": {"number": version.number, **version.origin},
        }
        if keep_number:
            _claim(store, version)
        return store_version(store, version.name, folder, manifest, record)


def _import_alias(store: Store, alias: ArchivedAlias, version: Imported) -> Imported:
    """The version with the alias, if that is its."""
    if (alias.name, alias.digest) != (version.name, version.digest):
        return version
    for _ in range(ATTEMPTS):
        seen = alias_log.present(store, alias.name, alias.alias)
        if seen[1] is not None and seen[1]["digest"] == alias.digest:
            return version
        try:
            state = alias_log.move(
                store, alias.name, alias.alias, seen=seen, number=version.version, digest=alias.digest, how="import",
                reason="imported from an archive", forced=None, verdict=None, imported=alias.log[-1:],
            )  # fmt: skip
        except Conflict:
            continue
        told = announced(store, alias.name, state, "Imported from an archive.")
        return replace(version, aliases=(*version.aliases, alias.alias), registry_error=told.registry_error)
    raise Conflict(f"The alias '{alias.alias}' of {alias.name} is being moved by many at once: import again.")
