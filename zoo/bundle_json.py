"""config.json and metrics.json of a bundle: strict JSON, fields of the types that the zoo reads, the present schema.

Whatever reads them afterwards (the gate, listings, the loader) need not ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import bundle_paths, migration, strict_json
from zoo.errors import ContentRefused

_TEXTS = ("data", "data_digest", "setting", "mode", "protocol", "hand")
_MAX_TEXT = 200


def parse_json_file(data: bytes, file: str) -> dict[str, Any]:
    """The content of config.json or metrics.json, in the present schema. Raises ContentRefused, SchemaTooNew."""
    try:
        value = strict_json.parse(data, limit=bundle_paths.limit(file))
    except strict_json.NotStrict as error:
        raise ContentRefused(f"{file} cannot be read: {error}. Write it again as a JSON object.") from error
    if not isinstance(value, dict):
        raise ContentRefused(f"{file} holds no JSON object: write it again.")
    migration.schema_of(value, file)
    if file == "config.json":
        _check_config(value)
    else:
        _check_metrics(value)
    return migration.migrated(value, file)


def _check_config(config: Mapping[str, Any]) -> None:
    model = config.get("model")
    if not isinstance(model, dict):
        raise _refused("config.json", "model", "an object")
    for field in _TEXTS:
        text = model.get(field, "")
        if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable():
            raise _refused("config.json", f"model.{field}", f"a text of at most {_MAX_TEXT} characters")
    window = model.get("window", 1)
    if type(window) is not int or not 1 <= window <= 100_000:
        raise _refused("config.json", "model.window", "a number of frames")


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    for part in ("val", "test"):
        figures = metrics.get(part, {})
        if not isinstance(figures, dict) or not isinstance(figures.get("metrics", {}), dict):
            raise _refused("metrics.json", part, "an object of figures")
    gate = metrics.get("gate", {"clips": []})
    if not isinstance(gate, dict) or not isinstance(gate.get("clips"), list):
        raise _refused(
            "metrics.json", "gate.clips", "a list of clips, each with clip, group, mpjpe_cm and windows"
        )
    if not all(isinstance(clip, dict) for clip in gate["clips"]):
        raise _refused("metrics.json", "gate.clips", "a list of objects")
    version = metrics.get("metric_version", 0)
    if type(version) is not int and not (isinstance(version, str) and len(version) <= _MAX_TEXT):
        raise _refused("metrics.json", "metric_version", "a number")


def _refused(file: str, field: str, wanted: str) -> ContentRefused:
    return ContentRefused(f"{file}, field {field}, must be {wanted}: write it again.")
