"""The codes of every window of a part, extracted once: what the indexer learns, and what the predictor looks up."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.latentact import LatentAct
from trainables.windows import Batch, Windows

_BATCH = 256
# Latents of the indexer are kept up to this size, and made again for every batch beyond it.
_LATENTS_BYTES = 2 * 2**30


class CodeTables:
    """Codes that a model's codebook, once it is trained, gives to windows; all of a part's when a batch of it first asks.

    They are kept in the windows' order. The release keys them by video and start, so that the clips of one video
    overwrite each other.
    """

    def __init__(self, model: LatentAct) -> None:
        self._model = model
        self._tables: dict[Windows, Tensor] = {}  # (N,T,Q) int32

    def __call__(self, windows: Windows, batch: Batch) -> Tensor:
        """Code indices (B,T,Q) int64 of a batch of `windows`."""
        if windows not in self._tables:
            self._tables[windows] = self._extract(windows)
        return self._tables[windows][batch.row_B].long()

    @torch.no_grad()
    def _extract(self, windows: Windows) -> Tensor:
        parts = torch.arange(len(windows)).split(_BATCH)
        return torch.cat([self._model.true_codes(windows.gather(part)).int() for part in parts])


@torch.no_grad()
def latent_table(model: LatentAct, windows: Windows) -> Tensor | None:
    """The indexer's latents (N,T,D) of all windows, which do not change while the predictor trains; None if too large."""
    assert model.codebook is not None
    width = model.codebook.config.quantizer.width
    element = model.contact_threshold.element_size()
    if model.indexer is None or len(windows) * windows.length * width * element > _LATENTS_BYTES:
        return None
    parts = [model.indexer_latent(windows.gather(i)) for i in torch.arange(len(windows)).split(_BATCH)]
    return torch.cat([part for part in parts if part is not None])
