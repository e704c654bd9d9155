"""Batches of predictions: a table, a folder of images, the clips of a part; what fails is said and stops nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_zoo import OBJECTS, POINT_M, TEXT, ask, photo, publish, sentence
from zoo_bundles import metrics

import zoo
from tests.named_zoo import zoo_in_folder
from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny, train
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.model_folder import load_model, save_model
from trainables.splits import part_clips
from trainables.windows import Windows


@pytest.fixture(autouse=True)
def empty_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo_in_folder(tmp_path, monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_a_table_with_bad_lines(tmp_path: Path) -> None:
    publish(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    photo(folder)
    (folder / "bad.png").write_bytes(b"no image")
    table = [
        "image,text,contact,contact_pixel,depth,name",
        f'photo.jpg,{TEXT},"0.02,0.01,0.45",,,mug',
        "bad.png,push,,,,",
        "photo.jpg,push the mug,,100 80,0.5,",
        "photo.jpg, ,,,,",
        "photo.jpg,prends la tasse,,,,",
        ',push,"0,0,450",,,',
        "photo.jpg,push,0.02,0.01,0.45,x,y",
        "absent.jpg,push,,,,",
        "photo.jpg,push,,100 80,,",
        "photo.jpg,push,,,,MUG",
        "photo.jpg,push,,,,../mug",
        ',push,"0 0 0.5",,,',
    ]
    (folder / "inputs.csv").write_text("\n".join(table))
    result = ask("--batch", folder, "--out", "out")
    assert result.exit_code == 1 and "predicted 3, 9 failed" in result.stdout
    problems = dict(re.findall(r"^inputs.csv, line (\d+): (.*)$", result.stderr, re.MULTILINE))
    says = {
        "3": "bad.png cannot be read", "5": "text is empty", "6": "none of the words", "7": "divide millimetres",
        "8": "more cells than columns", "9": "absent.jpg is not there", "10": "go together", "11": "an earlier line",
        "12": "is none for a folder",
    }  # fmt: skip
    assert problems.keys() == says.keys() and all(says[line] in said for line, said in problems.items())
    rows = lines(Path("out"))
    assert [re.search(r"line (\d+)", row["where"])[1] for row in rows] == [str(n) for n in range(2, 14)]
    made = {row["name"]: row for row in rows if "files" in row}
    assert list(made) == ["mug", "0004-photo", "0013-push"]
    model = zoo.load(f"{OBJECTS}@1")
    alone = model.predict(text=TEXT, image=folder / "photo.jpg", contact_point=POINT_M)
    with np.load(Path("out") / made["mug"]["files"][0], allow_pickle=False) as found:
        np.testing.assert_allclose(found["vertices_m"], alone.vertices_m, atol=1e-5)
        np.testing.assert_allclose(found["contact_probability"], alone.contact_probability, atol=1e-5)
    assert made["0004-photo"]["contact_point_m"][2] == 0.5
    assert {path.name for path in Path("out").iterdir()} == {*made, "viewer.html", "predictions.jsonl"}


def test_a_table_of_json_and_a_folder_of_images(tmp_path: Path) -> None:
    publish(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    first, second = photo(folder, "a b.jpg"), photo(folder, "a-b.png")
    result = ask("--batch", folder, "--text", TEXT, "--json", "--format", "gif")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["predicted"] == 2
    names = {row["name"]: row["files"] for row in lines(Path("photos-predictions"))}
    assert names == {"a-b": ["a-b/trajectory.gif"], "a-b.2": ["a-b.2/trajectory.gif"]}
    asked = [
        {"text": TEXT, "image": first.name, "contact": POINT_M},
        {"text": TEXT, "image": second.name, "contcat": POINT_M},
        {"text": 7},
        [1],
    ]
    table = folder / "inputs.jsonl"
    table.write_text("\n".join([*map(json.dumps, asked), "{", ""]))
    result = ask("--batch", table, "--out", "json", "--format", "npz")
    assert result.exit_code == 1 and "predicted 1, 4 failed" in result.stdout
    for says in (
        "line 2: field 'contcat'",
        "line 3: text is 7",
        "line 4: it is no JSON object",
        "line 5: it is no JSON (",
    ):
        assert f"inputs.jsonl, {says}" in result.stderr


def test_batches_that_cannot_begin(tmp_path: Path) -> None:
    publish(tmp_path)
    empty, images = tmp_path / "empty", tmp_path / "images"
    empty.mkdir()
    images.mkdir()
    photo(images)
    assert "holds neither inputs.csv nor inputs.jsonl nor images" in sentence(ask("--batch", empty), code=1)
    assert "say the action of all with --text" in sentence(ask("--batch", images), code=1)
    for table, says in {
        "image,contcat\n": "the column 'contcat'",
        "": "holds no line",
        "text\n": "holds no line",
        "text\n\xff": "cannot be read as UTF-8",
    }.items():
        (empty / "inputs.csv").write_bytes(table.encode("latin-1"))
        assert says in sentence(ask("--batch", empty), code=1), table
    (empty / "inputs.csv").write_text("text\npush\n")
    assert "leave --text" in sentence(ask("--batch", empty, "--text", "push"), code=1)
    Path("file").write_text("mine")
    assert "is a file" in sentence(ask("--batch", empty, "--out", "file"), code=1)
    assert "nowhere: nothing is there" in sentence(ask("--data", "nowhere"), code=1)


def test_the_clips_of_a_part(tmp_path: Path) -> None:
    clips = tiny_clips(tmp_path / "clips")
    torch.manual_seed(0)
    shape = tiny(method="transformer").model(
        data="tiny", data_digest=clips.digest, hand=load_hand().name, encoders={}
    )
    bundle = tmp_path / "bundle"
    save_model(LatentAct(shape, load_hand()), bundle)
    (bundle / "metrics.json").write_text(json.dumps(metrics([3.0] * 6)))
    (bundle / "card.md").write_text("# A small model\n")
    name = "latentact-tiny-objects"
    zoo.publish(name, bundle)
    result = ask("--data", tmp_path / "clips", "--limit", 3, "--out", "val", name=f"{name}@1")
    assert result.exit_code == 0, result.output
    rows = lines(Path("val"))
    part = part_clips(clips, "objects", "val")[:3]
    assert [row["where"] for row in rows] == [f"clip {clips.clip_ids[clip]}" for clip in part.tolist()]
    windows = Windows(clips, part, length=8, stride=1000)
    model = load_model(bundle)
    expected = model.forecast(windows.gather(torch.arange(len(windows))))
    for row, joints in zip(rows, expected.joints_ref_BTJ3, strict=True):
        with np.load(Path("val") / row["files"][0], allow_pickle=False) as found:
            np.testing.assert_allclose(found["joints_m"], joints.detach(), atol=1e-5)
    pages = {
        part: ask("--data", tmp_path / "clips", "--part", part, "--limit", 1, "--out", part, name=f"{name}@1")
        for part in ("train", "test")
    }
    assert all(page.exit_code == 0 for page in pages.values())
    shown = {
        part: "truth_joints" in Path(part, "viewer.html").read_text().rpartition('id="page-data"')[2]
        for part in pages
    }
    assert shown["train"] and '"joint_error_cm":null' in Path("test/viewer.html").read_text()
    unknown = sentence(ask("--data", tmp_path / "clips", "--split", "scenes", name=f"{name}@1"), code=1)
    assert "scenes" in unknown


def test_training_writes_down_the_words_of_its_own_part(tmp_path: Path) -> None:
    clips = tiny_clips(tmp_path / "clips")
    parts = {
        "train": ["object0", "object4"],
        "val": ["object1", "object2"],
        "gate": ["object3"],
        "test": ["object5"],
    }
    settings = {"objects": {"group": "object", "parts": parts}}
    clips = replace(clips, manifest={**clips.manifest, "settings": settings})
    model, _ = train(tiny(method="transformer", epochs=1), clips)
    assert model.config.words == ("left", "push")  # val's clips go right and up
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").config == model.config
    record = json.loads((tmp_path / "model" / "config.json").read_text())
    del record["model"]["words"]  # as older models have it
    (tmp_path / "model" / "config.json").write_text(json.dumps(record))
    assert load_model(tmp_path / "model").config.words == ()
    without, _ = train(tiny(method="transformer", epochs=1, without="text"), clips)
    assert without.config.words == ()
