"""What a manifest must be before anything that it says is believed: it may come from anybody's bucket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainables.clip_format import AGAIN, GROUPS, READABLE_SCHEMAS
from trainables.source_errors import MissingField, OutsidePath, WrongType, WrongValue
from trainables.splits import PARTS

_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.parquet", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TOP = {"name": str, "hand": str, "shards": list, "settings": dict, "counts": dict}
_OF_SHARD = {"file": str, "sha256": str, "clips": int, "frames": int}


def check_manifest(manifest: dict[str, Any], where: str) -> None:
    """Raises ClipsError, by its class in source_errors.py, unless the manifest is one that this version can read.

    where: the manifest's url, which errors name with the field.
    """
    if manifest.get("schema") not in READABLE_SCHEMAS:
        why = (
            f"is {manifest.get('schema')!r}, this version reads {' and '.join(map(str, READABLE_SCHEMAS))}; use the "
            "version that wrote it, or prepare the data set again."
        )
        raise WrongValue(where, why, field="schema")
    _fields(manifest, _TOP, where, "")
    if not manifest["shards"]:
        raise WrongValue(where, f"is empty: lacks shards; {AGAIN}", field="shards")
    files = set()
    for number, shard in enumerate(manifest["shards"]):
        own = f"shards[{number}]"
        if not isinstance(shard, dict):
            raise WrongType(where, f"is a {type(shard).__name__}; {AGAIN}", field=own)
        _fields(shard, _OF_SHARD, where, f"{own}.")
        if not _SHARD.fullmatch(shard["file"]):
            why = f"is {shard['file']!r}, which is no file of the data set's own folder; nothing there was read."
            raise OutsidePath(where, why, field=f"{own}.file")
        if not _SHA256.fullmatch(shard["sha256"]):
            raise WrongValue(where, f"is no sha256; {AGAIN}", field=f"{own}.sha256")
        if shard["file"] in files:
            raise WrongValue(where, f"names {shard['file']} a second time; {AGAIN}", field=f"{own}.file")
        files.add(shard["file"])
    clips = sum(shard["clips"] for shard in manifest["shards"])
    if clips != manifest["counts"].get("clips"):
        why = f"is {manifest['counts'].get('clips')!r}, the shards have {clips}: some are missing; {AGAIN}"
        raise WrongValue(where, why, field="counts.clips")
    for name, setting in manifest["settings"].items():
        _check_setting(setting, where, f"settings.{name}")
    if not isinstance(manifest.get("features", {}), dict):
        raise WrongType(where, f"is no object; {AGAIN}", field="features")


def _check_setting(setting: Any, where: str, name: str) -> None:
    if not isinstance(setting, dict):
        raise WrongType(where, f"is a {type(setting).__name__}; {AGAIN}", field=name)
    _fields(setting, {"group": str, "parts": dict}, where, f"{name}.")
    if setting["group"] not in GROUPS:
        why = f"is {setting['group']!r}; it must be one of {', '.join(GROUPS)}: {AGAIN}"
        raise WrongValue(where, why, field=f"{name}.group")
    # `gate` may be absent: half of `val` becomes it.
    _fields(setting["parts"], {"train": list, "val": list, "test": list}, where, f"{name}.parts.")
    for part, groups in setting["parts"].items():
        if part not in PARTS:
            why = f"holds {part!r}; parts are {', '.join(PARTS)}: {AGAIN}"
            raise WrongValue(where, why, field=f"{name}.parts")
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise WrongType(where, f"is no list of names; {AGAIN}", field=f"{name}.parts.{part}")


def _fields(content: dict[str, Any], types: Mapping[str, type], where: str, prefix: str) -> None:
    for name, kind in types.items():
        if name not in content:
            raise MissingField(where, f"lacks {name}; {AGAIN}", field=prefix + name)
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            why = f"is a {type(content[name]).__name__}, not a {kind.__name__}; {AGAIN}"
            raise WrongType(where, why, field=prefix + name)
