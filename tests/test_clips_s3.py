"""Data sets on a real S3: equal to local ones, absent until whole, clear about a wrong key or bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_clips import some_clips, write

from trainables.clip_folder import Folder
from trainables.clips import ClipsError, read_clips, write_clips


@pytest.fixture
def bucket(object_store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    for name, value in object_store.env.items():
        monkeypatch.setenv(name, value)
    yield f"s3://zoo/clips-{request.node.name}"


def test_a_data_set_on_s3_equals_the_local_one(bucket: str, tmp_path: Path) -> None:
    local = read_clips(str(write(tmp_path / "data", some_clips())))
    write(bucket, some_clips())
    assert read_clips(bucket).digest == local.digest
    with write_clips(bucket, name="made_up", hand="standin-1", source={"seed": 0}) as writer:
        assert writer.finished
    with pytest.raises(ClipsError, match="choose another DEST"):
        write(bucket, some_clips(), source={"seed": 1})


def test_a_data_set_is_absent_until_its_manifest_is_there(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def break_at_the_end(folder: Folder, name: str, data: bytes) -> None:
        if name == "manifest.json":
            raise OSError("the line went dead")
        sent.append(name)
        whole(folder, name, data)

    whole = Folder.write
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", break_at_the_end)
        with pytest.raises(OSError, match="line went dead"):
            write(bucket, some_clips())
    assert sent == ["shard-00000.parquet"]
    with pytest.raises(ClipsError, match="no manifest.json.*interrupted"):
        read_clips(bucket)
    write(bucket, some_clips())  # the same command again completes it
    assert len(read_clips(bucket)) == 16


def test_a_wrong_key_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bucket, some_clips())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    with pytest.raises(
        ClipsError, match=f"{bucket}/manifest.json: access was denied; check AWS_ACCESS_KEY_ID"
    ):
        read_clips(bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(ClipsError, match="access was denied"):
        read_clips(bucket)
    with pytest.raises(ClipsError, match="access was denied"):
        write(bucket + "-new", some_clips())


def test_a_missing_bucket_or_prefix_is_named(bucket: str) -> None:
    with pytest.raises(ClipsError, match="no-such-bucket/data.*bucket 'no-such-bucket' does not exist"):
        read_clips("s3://no-such-bucket/data")
    with pytest.raises(ClipsError, match="bucket 'no-such-bucket' does not exist"):
        write("s3://no-such-bucket/data", some_clips())
    with pytest.raises(ClipsError, match=f"{bucket}: nothing is there"):
        read_clips(bucket)
