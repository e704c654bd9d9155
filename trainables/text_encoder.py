"""Action text -> feature: hashed words and subwords trained jointly (fastText; Bojanowski et al. 2017), or frozen."""

from __future__ import annotations

import functools
import re
import zlib

import torch
from torch import Tensor, nn

from trainables.frozen_encoders import TEXT_WIDTHS
from trainables.transformer import learned

BUCKETS = 4096
TEXT_ENCODERS = ("words", *TEXT_WIDTHS)


def words_of(text: str) -> list[str]:
    """The words that the encoder `words` reads, in order: runs of Latin letters and digits, in lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())


@functools.lru_cache(maxsize=65536)
def buckets(text: str) -> tuple[int, ...]:
    """Bucket (1..4095) of each word and each of its character trigrams; 0 is padding."""
    found = []
    for word in words_of(text):
        marked = f"<{word}>"
        grams = [marked, *(marked[i : i + 3] for i in range(len(marked) - 2))]
        found += [1 + zlib.crc32(gram.encode()) % (BUCKETS - 1) for gram in grams]
    return tuple(found)


class WordEncoder(nn.Module):
    """Mean of the embeddings of a text's buckets. Needs no download, and shares words between unseen texts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(BUCKETS, width, mode="mean", padding_idx=0)
        # Small, so that words never seen in training stay near zero and do not disturb the words beside them.
        nn.init.normal_(self.embedding.weight, std=0.02)
        with torch.no_grad():
            self.embedding.weight[0].zero_()
        self.scale = nn.Parameter(torch.tensor(30.0))

    def forward(self, texts: list[str], text_B: Tensor) -> Tensor:
        """Features (B, width) of `texts[text_B]`; each distinct text is encoded once."""
        distinct, inverse_B = text_B.unique(return_inverse=True)
        rows = [buckets(texts[i]) or (0,) for i in distinct.tolist()]
        longest = max(map(len, rows))
        padded = torch.tensor([row + (0,) * (longest - len(row)) for row in rows], device=text_B.device)
        return self.scale * self.embedding(padded)[inverse_B]


class TextEncoder(nn.Module):
    """A text's feature; an unknown text's is learned.

    Args:
        kind: "words", trained jointly, or the name of a frozen network, whose features are the input.
        width: of the trained encoder's feature.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.width = TEXT_WIDTHS.get(kind, width)
        self.words = WordEncoder(width) if kind == "words" else None
        # Frozen text features have unit length; the other inputs' features are larger.
        self.scale = TEXT_WIDTHS.get(kind, 1) ** 0.5
        self.unknown = learned(self.width)

    def forward(self, texts: list[str], text_B: Tensor, feature_BF: Tensor | None, known_B: Tensor) -> Tensor:
        """Features (B, width) of `texts[text_B]`, or of a frozen network's features (B, width)."""
        if self.words is not None:
            feature = self.words(texts, text_B)
        else:
            assert feature_BF is not None, "a frozen text encoder needs its features: Windows(features=...)"
            feature = self.scale * feature_BF.to(self.unknown.dtype)
        return feature.where(known_B[:, None], self.unknown)
