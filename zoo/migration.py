"""Schemas of config.json and metrics.json, and how an older one is read as the present one.

A migration is a pure function on the parsed JSON, applied when a bundle is read. The bytes in the store never change,
so a digest stays what it was. A schema from a newer version is refused: half of it would be misread.

To change a schema: raise its number here, add the step from the number before, and keep a file of the old kind in
tests/test_zoo_migration.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import ContentRefused, SchemaTooNew

Step = Callable[[dict[str, Any]], dict[str, Any]]


def _config_1_to_2(config: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 has models without codebook, with diffusion, on frozen encoders, and ablations that see true codes.

    None of that was there before, and says so. The fields that name and compare a model (data, setting, mode, window,
    protocol) are the same. Its tensors are those of other networks: `trainables` says that it cannot build them.
    """
    absent: dict[str, Any] = {"encoders": {}, "diffusion": None, "oracle_codes": False}
    return {**config, "model": {**absent, **config["model"]}}


# File -> the schema it is read as; step i of a file's list leads from schema i + 1 to the next.
STEPS: Mapping[str, tuple[Step, ...]] = {"config.json": (_config_1_to_2,), "metrics.json": ()}


def current(file: str) -> int:
    """The schema that `file` is read as."""
    return len(STEPS[file]) + 1


def schema_of(value: Mapping[str, Any], file: str) -> int:
    """The schema that `value`, the content of `file`, has; without a field `schema` the first, 1.

    Raises SchemaTooNew beyond the one that this version reads, and ContentRefused for a schema that is no number.
    """
    schema, newest = value.get("schema", 1), current(file)
    if type(schema) is not int or schema < 1:
        raise ContentRefused(
            f"{file} has the schema {str(schema)[:20]!r}, which is none: publish the bundle again."
        )
    if schema > newest:
        raise SchemaTooNew(
            f"{file} has schema {schema}, and this version reads up to {newest}: upgrade latentact-zoo "
            "(pip install --upgrade latentact-zoo)."
        )
    return schema


def migrated(value: dict[str, Any], file: str) -> dict[str, Any]:
    """`value`, the content of `file`, in the present schema; itself where it is in that already.

    `value` is not changed. Raises as `schema_of`.
    """
    schema = schema_of(value, file)
    if schema < current(file):
        value = copy.deepcopy(value)
    for newer, step in enumerate(STEPS[file][schema - 1 :], schema + 1):
        value = {**step(value), "schema": newer}
    return value
