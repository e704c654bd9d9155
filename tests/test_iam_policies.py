"""cluster/iam: each role may do its work and nothing else, by AWS's rules and on a server that enforces them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from zoo_bundles import write_bundle
from zoo_marks import die_before_the_number

import zoo
from tests.iam_policy import allows, allows_object, faults, policy
from tests.object_server import ObjectStore, running_store
from zoo import layout, store_probe
from zoo.errors import StoreDenied
from zoo.s3 import S3Store
from zoo.store import Blob, Sent, Store, open_store, sweep

ROLES = ("reader", "publisher", "promoter", "gc")
NAME = "latentact-world-objects"
TOP = layout.model_folder(NAME)
ACTIONS = {"get": "GetObject", "put": "PutObject", "put_if": "PutObject", "delete": "DeleteObject"}


class Recorder:
    """A store that notes what is asked of it."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.url = inner, inner.url
        self.asked: set[tuple[str, str]] = set()

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> Blob:
        self.asked.add(("get", key))
        return self.inner.get(key, start=start, end=end)

    def put(self, key: str, source: bytes | Path, *, sent: Sent | None = None) -> None:
        self.asked.add(("put", key))
        self.inner.put(key, source, sent=sent)

    def put_if(self, key: str, data: bytes, tag: str | None) -> None:
        self.asked.add(("put_if", key))
        self.inner.put_if(key, data, tag)

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        self.asked.add(("list", prefix))
        return self.inner.list(prefix, deep=deep)

    def delete(self, key: str) -> None:
        self.asked.add(("delete", key))
        self.inner.delete(key)


def work(stores: dict[str, Store], tmp_path: Path) -> None:
    """What each role does in its life, in an order that makes sense."""
    first = zoo.publish(NAME, write_bundle(tmp_path / "one"), store=stores["publisher"])
    better = write_bundle(tmp_path / "two", seed=2, errors_cm=[1.0] * 6)
    zoo.publish(NAME, better, store=stores["publisher"])
    zoo.publish(NAME, better, store=stores["publisher"])
    zoo.promote(NAME, 1, store=stores["promoter"])
    zoo.promote(NAME, 2, store=stores["promoter"], force="it is better")
    zoo.promote(NAME, 1, alias="staging", store=stores["promoter"])
    zoo.rollback(NAME, reason="a rehearsal", store=stores["promoter"])
    assert zoo.pull(NAME, store=stores["reader"]).name == first.digest
    assert [entry.name for entry in zoo.ls(store=stores["reader"])] == [NAME]
    zoo.history(NAME, store=stores["reader"])
    zoo.publish(NAME, write_bundle(tmp_path / "three", seed=3), store=stores["publisher"])
    zoo.publish(NAME, write_bundle(tmp_path / "four", seed=4), store=stores["publisher"])
    die_before_the_number(stores["publisher"], NAME, tmp_path, 9)
    zoo.gc(store=stores["gc"])
    found = zoo.gc(store=stores["gc"], delete=True, grace_s=0, keep_last=1)
    assert {item.kind for item in found} >= {"old version", "unfinished"}, found
    assert all(item.state == "gone" for item in found), found
    zoo.publish(NAME, tmp_path / "three", store=stores["publisher"])  # back again


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(store_probe, "_passed", set())


@pytest.mark.parametrize("role", ROLES)
def test_policies_are_well_formed(role: str) -> None:
    assert faults(policy(role)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s.update(Action=["s3:GetObjects"]), "unknown action"),
        (lambda s: s.update(Resource=["arn:aws:s3:::zoo"]), "is about a object"),
        (lambda s: s.update(Condition={"StringLike": {"s3:prefix": ["models/"]}}), "has no s3:prefix"),
        (lambda s: s.update(Sid="List models"), "Sid"),
        (lambda s: s.update(Effect="allow"), "Effect"),
        (lambda s: s.update(Resource=["arn:aws:s3:::${bucket}/x"]), "placeholder"),
    ],
)
def test_a_planted_fault_is_found(change: Callable[[dict], None], fault: str) -> None:
    document = policy("reader")
    change(document["Statement"][0])
    assert any(fault in found for found in faults(document))


def test_each_role_may_do_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders = {}
    for role in ROLES:
        monkeypatch.setattr(store_probe, "_passed", set())
        recorders[role] = Recorder(open_store(f"file://{tmp_path}/zoo"))
    work(dict(recorders), tmp_path)
    store_probe._passed.clear()
    for role in ("publisher", "promoter", "gc"):
        store_probe._probe(recorders[role], "here")
    for role, recorder in recorders.items():
        assert len(recorder.asked) > 8
        for asked, key in sorted(recorder.asked):
            if asked == "list":
                ok = allows(policy(role), "s3:ListBucket", "arn:aws:s3:::zoo", {"s3:prefix": key})
            else:
                ok = allows_object(policy(role), ACTIONS[asked], key)
            assert ok, f"{role}: {asked} {key}"


# What must not be, and who may: (action, key, roles).
MATRIX = [
    ("PutObject", f"{TOP}/versions/{'a' * 64}/model.safetensors", {"publisher"}),
    ("DeleteObject", f"{TOP}/versions/{'a' * 64}/model.safetensors", {"gc"}),
    ("PutObject", f"{TOP}/numbers/3.json", {"publisher", "gc"}),
    ("PutObject", f"{TOP}/digests/{'a' * 64}.json", {"publisher"}),
    ("PutObject", f"{TOP}/aliases/champion.json", {"promoter"}),
    ("PutObject", f"{TOP}/log/champion-00000001.json", {"promoter"}),
    ("PutObject", f"{TOP}/aliases/versions/champion.json", set()),  # IAM's * matches a / too
    ("PutObject", "models/versions/aliases/versions/x", set()),
    ("PutObject", f"{TOP}/versions/log/x", set()),
    ("PutObject", f"{TOP}/log/numbers/x", set()),
    ("PutObject", f"{TOP}/versions/aliases/x", set()),
    *[("DeleteObject", f"{TOP}/{part}", set()) for part in ("numbers/3.json", "aliases/a.json", "log/a-00000001.json")],
    *[(action, "ledger/sweep/events/1.json", set()) for action in ("GetObject", "PutObject", "DeleteObject")],
    ("GetObject", f"{TOP}/aliases/champion.json", set(ROLES)),
    ("PutObject", store_probe.KEY, {"publisher", "promoter", "gc"}),
    ("DeleteObject", store_probe.KEY, set()),
]  # fmt: skip


@pytest.mark.parametrize(("action", "key", "roles"), MATRIX)
def test_and_nothing_else(action: str, key: str, roles: set[str]) -> None:
    assert {role for role in ROLES if allows_object(policy(role), action, key)} == roles


@pytest.mark.parametrize("role", ROLES)
def test_listing_and_keys_stay_with_the_zoo(role: str) -> None:
    def listed(context: dict[str, str], bucket: str = "zoo") -> bool:
        return allows(policy(role), "s3:ListBucket", f"arn:aws:s3:::{bucket}", context)

    assert listed({"s3:prefix": "models/"}) and not listed({"s3:prefix": "ledger/"})
    assert listed({})  # the question whether a missing object is missing; see cluster/iam/README.md
    assert not listed({"s3:prefix": "models/"}, "other")
    key = "arn:aws:kms:eu-central-1:111122223333:key/1234"
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        ours = {
            "kms:ViaService": "s3.eu-central-1.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::zoo",
        }
        assert allows(policy(role), action, key, ours) is (action == "kms:Decrypt" or role != "reader")
        assert not allows(
            policy(role), action, key, {**ours, "kms:ViaService": "ec2.eu-central-1.amazonaws.com"}
        )
        theirs = {**ours, "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::zoo-of-others/models/x"}
        assert not allows(policy(role), action, key, theirs)


@pytest.fixture(scope="module")
def enforcing(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ObjectStore, dict[str, dict[str, str]]]]:
    """A SeaweedFS whose users have these policies, and the environment of each role."""
    with running_store(tmp_path_factory.mktemp("iam"), "-s3.iam.readOnly=false") as server:
        iam = boto3.client(
            "iam", endpoint_url=server.endpoint, aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key, region_name="us-east-1",
        )  # fmt: skip
        environments = {}
        for role in ROLES:
            iam.create_user(UserName=role)
            keys = iam.create_access_key(UserName=role)["AccessKey"]
            made = iam.create_policy(PolicyName=role, PolicyDocument=json.dumps(policy(role)))["Policy"]
            iam.attach_user_policy(UserName=role, PolicyArn=made["Arn"])
            own = {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"]}
            environments[role] = {**server.env, **own}
        yield server, environments


def test_a_server_enforces_them(
    enforcing: tuple[ObjectStore, dict[str, dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, environments = enforcing
    stores: dict[str, Store] = {role: S3Store("s3://zoo", env) for role, env in environments.items()}
    for role in ("publisher", "promoter", "gc"):
        store_probe._passed.clear()
        store_probe._probe(stores[role], store_probe._place(stores[role]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    work(stores, tmp_path)

    bundle = write_bundle(tmp_path / "five", seed=5)
    for role in ("reader", "promoter", "gc"):
        with pytest.raises(StoreDenied, match="cluster/iam"):
            zoo.publish(NAME, bundle, store=stores[role])
    for role in ("reader", "publisher", "gc"):
        with pytest.raises(StoreDenied, match="cluster/iam"):
            zoo.promote(NAME, 3, force="no", store=stores[role])
    manifest = next(key for key in stores["reader"].list(f"{TOP}/versions/") if key.endswith("manifest.json"))
    for role in ("reader", "publisher", "promoter"):
        with pytest.raises(StoreDenied, match="cluster/iam"):
            stores[role].delete(manifest)
    everything = S3Store("s3://zoo", server.env)
    everything.put("ledger/x", b"x")
    for role in ROLES:
        with pytest.raises(StoreDenied):
            stores[role].get("ledger/x").read()
        with pytest.raises(StoreDenied):
            list(stores[role].list("ledger/"))


def test_large_uploads_go_on_and_are_swept_under_them(
    enforcing: tuple[ObjectStore, dict[str, dict[str, str]]], tmp_path: Path
) -> None:
    _, environments = enforcing
    stores = {role: S3Store("s3://zoo", env) for role, env in environments.items()}
    key, other = (
        f"{TOP}/versions/{'b' * 64}/model.safetensors",
        f"{TOP}/versions/{'c' * 64}/model.safetensors",
    )
    (tmp_path / "large").write_bytes(b"l" * (17 << 20))
    begun = stores["publisher"]._requests.ask("create_multipart_upload", Key=key, ChecksumAlgorithm="CRC32")
    part = {"UploadId": begun["UploadId"], "PartNumber": 1, "Body": b"l" * (8 << 20)}
    stores["publisher"]._requests.ask("upload_part", Key=key, **part)
    stores["publisher"].put(key, tmp_path / "large")
    assert stores["reader"].get(key).size == 17 << 20
    stores["publisher"]._requests.ask("create_multipart_upload", Key=other)
    with pytest.raises(StoreDenied):
        sweep(stores["promoter"], -60)
    assert sweep(stores["gc"], -60) == [other]  # the first one was finished, not begun anew
