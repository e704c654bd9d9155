"""Which files a trial's identity follows: what training imports, and no importer."""

from pathlib import Path

from trainables.code_digest import ENTRIES, FOLDER, code_digest, imported_files


def test_what_trains_counts_and_importers_do_not() -> None:
    files = imported_files(FOLDER, ENTRIES)
    trained = {"trial", "stages", "quantizer", "windows", "clip_resampling", "hand", "deit", "minilm"}
    assert trained | {"ray_train", "checkpoints", "shelf"} <= set(files)
    assert not {"prepare", "dexycb", "world", "inverse_kinematics", "import_run", "recording"} & set(files)
    assert len(code_digest()) == 64


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    folder.mkdir()
    for name, source in {
        "a": "from rooms import b\nfrom other import z",
        "b": "def later():\n    import rooms.c",
        "c": "if True:\n    from rooms.d import thing",
        "d": "from rooms.a import anything",
        "e": "",
        "z": "",
    }.items():
        (folder / f"{name}.py").write_text(source)
    assert imported_files(folder, ("a",)) == ["a", "b", "c", "d"]
