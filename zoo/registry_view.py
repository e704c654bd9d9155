"""What MLflow shows of one model, and what has to change for it to show what the store holds.

Version tags: the publisher's own, and zoo.digest, zoo.version, data, setting, the figures of a listing. What others have
registered under the name (versions from elsewhere than this store, aliases of these) is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo import bundle, layout, model_card
from zoo.errors import ZooError
from zoo.names import flat, parse_name
from zoo.store import Store, read_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

DIGEST_TAG, VERSION_TAG, CARD_TAG = "zoo.digest", "zoo.version", "zoo.card"
_DESCRIPTION = 5000  # characters that MLflow keeps


@dataclass(frozen=True)
class Change:
    """One change to MLflow, in words, and what makes it."""

    words: str
    make: Callable[[], object]


def changes(
    client: MlflowClient, store: Store, name: str, aliases: dict[str, dict[str, Any]], *, every: bool
) -> Iterator[Change]:
    """What is left to do, in order; make each before the next is asked for, or none at all.

    `aliases` are the store's. `every`: compare each version with its record, and number afresh where MLflow's numbers
    have run ahead; else a version that MLflow has under a number is looked at only where it is the newest or has an
    alias. Raises MlflowException, StoreError.
    """
    view = _View(client, store, name)
    numbers = layout.numbers(store, name)
    looked_at = numbers if every else sorted({*set(numbers) - view.shown.keys(), *numbers[-1:]})
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: read_json(store, layout.number_key(name, number)), looked_at)
        records = dict(zip(looked_at, found, strict=True))
    collected = {number for number, record in records.items() if record.get("collected")}
    numbers = [number for number in numbers if number not in collected]
    digests = {
        int(record["number"]): str(record["digest"]) for record in (*aliases.values(), *records.values())
    }

    if every and view.is_out_of_step:
        yield Change(f"number {name} afresh", view.forget)
        view.registered, view.versions, view.shown = None, [], {}
    if view.registered is None:
        yield Change(f"register {name}", view.register)
    for version, why in view.unwanted(set(numbers), digests):
        yield Change(f"remove {why}", partial(view.delete, version))
    for number in numbers:
        if number not in view.shown:
            record = records.get(number) or read_json(store, layout.number_key(name, number))
            yield Change(f"add {name}@{number}", partial(view.add, record))
            view.shown.setdefault(number, None)
    for alias, record in aliases.items():
        number = int(record["number"])
        if number in view.shown and view.alias_of(alias) != number:
            yield Change(f"let {name}@{alias} be {number}", partial(view.set_alias, alias, number))
    for alias in sorted(view.own_aliases() - aliases.keys()):
        yield Change(f"remove {name}@{alias}", partial(view.remove_alias, alias))
    shown = aliases.get("champion")
    if shown is None and numbers:
        shown = read_json(store, layout.number_key(name, numbers[-1]))
    if shown and view.described != shown["digest"]:
        yield Change(f"describe {name} by its card", partial(view.describe, str(shown["digest"])))


class _View:
    """One model as MLflow shows it: `shown` are the store's numbers that it has, with MLflow's own version."""

    def __init__(self, client: MlflowClient, store: Store, name: str) -> None:
        self.client, self.store, self.name, self.model = client, store, name, flat(name)
        self._look()

    def _look(self) -> None:
        self.registered = _registered(self.client, self.model)
        self.versions = _versions(self.client, self.model) if self.registered else []
        self.shown: dict[int, ModelVersion | None] = {}
        # Of two registrations of one version the one in step stays, else the first.
        for version in self.versions:
            number = self._number(version)
            if number and (number not in self.shown or int(version.version) == number):
                self.shown[number] = version

    @property
    def described(self) -> str:
        """Digest of the version whose card is the description."""
        return str(self.registered.tags.get(CARD_TAG, "")) if self.registered else ""

    @property
    def is_out_of_step(self) -> bool:
        """Whether numbers differ, in a model that holds nobody else's versions."""
        numbers = [self._number(version) for version in self.versions]
        return all(numbers) and any(int(v.version) != n for v, n in zip(self.versions, numbers, strict=True))

    def unwanted(self, numbers: set[int], digests: dict[int, str]) -> Iterator[tuple[ModelVersion, str]]:
        """Versions of the zoo that the store does not have so, each taken out of `shown`, and what is wrong with them."""
        for version in self.versions:
            number, digest = self._number(version), version.tags.get(DIGEST_TAG, "")
            if not number:
                continue
            if number in numbers and digests.get(number, digest) == digest:
                if self.shown.get(number) is not version:
                    yield version, f"{self.name}@{number}, which is there twice"
                continue
            self.shown.pop(number, None)
            yield version, f"{self.name}@{number}, which the store does not hold"

    def own_aliases(self) -> set[str]:
        """Those that point to a version of the zoo."""
        own = {version.version for version in self.versions if self._number(version)}
        aliases = self.registered.aliases if self.registered else {}
        return {alias for alias, version in aliases.items() if version in own}

    def alias_of(self, alias: str) -> int | None:
        """The store's number of the version that has it in MLflow."""
        version = self.registered.aliases.get(alias) if self.registered else None
        return next((n for n, shown in self.shown.items() if shown and shown.version == version), None)

    def _number(self, version: ModelVersion) -> int:
        """The store's number of a version; 0 of one that is not of this store."""
        number = version.tags.get(VERSION_TAG, "")
        ours = DIGEST_TAG in version.tags and str(version.source).startswith(f"{self.store.url}/")
        return int(number) if ours and number.isdecimal() else 0

    def register(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.model, tags=_tags(self.name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._look()

    def forget(self) -> None:
        self.client.delete_registered_model(self.model)

    def remove_alias(self, alias: str) -> None:
        self.client.delete_registered_model_alias(self.model, alias)

    def delete(self, version: ModelVersion) -> None:
        self.client.delete_model_version(self.model, version.version)

    def add(self, record: dict[str, Any]) -> None:
        """Register a version; MLflow's numbers below its own are used up."""
        number, digest = int(record["number"]), str(record["digest"])
        figures = {name: f"{value:.4g}" for name, value in record.get("figures", {}).items()}
        own = {DIGEST_TAG: digest, VERSION_TAG: str(number), **_tags(self.name), **figures}
        folder = layout.version_folder(self.name, digest)
        made = None
        while made is None or int(made.version) < number:
            if made is not None:
                self.delete(made)
            made = self.client.create_model_version(
                self.model,
                source=f"{self.store.url}/{folder}",
                run_id=self._run_id(record["tags"]),
                tags={**record["tags"], **own},
                description=self._card(digest),
                await_creation_for=0,
            )
        self.shown[number] = made

    def set_alias(self, alias: str, number: int) -> None:
        if version := self.shown.get(number):
            self.client.set_registered_model_alias(self.model, alias, version.version)

    def describe(self, digest: str) -> None:
        self.client.update_registered_model(self.model, description=self._card(digest))
        self.client.set_registered_model_tag(self.model, CARD_TAG, digest)

    def _card(self, digest: str) -> str:
        """As much of a card as MLflow keeps; a version without a readable one is shown all the same."""
        try:
            text = model_card.body(
                layout.read_bundle_file(self.store, self.name, digest, bundle.CARD).decode()
            )
        except (ZooError, UnicodeDecodeError) as error:
            return f"The card of this version cannot be read: {error}"[:_DESCRIPTION]
        # MLflow has no address for a picture that lies in the version's folder.
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("!["))
        return text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 4].rpartition("\n")[0] + "\n..."

    def _run_id(self, tags: dict[str, str]) -> str | None:
        """The run that trained it, where MLflow has it: the one it was published with, else one of its trial's
        identity, as runs get new names when a lost database is filled again.
        """
        from mlflow.exceptions import MlflowException

        run_id, identity = tags.get("run_id"), tags.get("identity", "")
        if run_id:
            with contextlib.suppress(MlflowException):
                return str(self.client.get_run(run_id).info.run_id)
        if run_id and identity.isalnum():
            experiments = [e.experiment_id for e in self.client.search_experiments()]
            wanted = f"tags.`latentact.identity` = '{identity}'"
            for run in self.client.search_runs(experiments, wanted, max_results=1):
                return str(run.info.run_id)
        return None


def _tags(name: str) -> dict[str, str]:
    parsed = parse_name(name)
    return {"zoo.name": name, "data": parsed.data, "setting": parsed.setting, "mode": parsed.mode}


def _registered(client: MlflowClient, model: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return None


def _versions(client: MlflowClient, model: str) -> list[ModelVersion]:
    """All versions, by MLflow's number."""
    found: list[ModelVersion] = []
    token: str | None = None
    while token is None or token:
        page = client.search_model_versions(f"name='{model}'", page_token=token)
        found += page
        token = page.token or ""
    return sorted(found, key=lambda version: int(version.version))
