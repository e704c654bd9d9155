"""The codes of every window of a part, extracted before a stage begins: what the indexer learns, what is looked up."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.latentact import LatentAct
from trainables.windows import Windows

_BATCH = 256
# Latents of the indexer are kept up to this size, and made again for every batch beyond it.
_LATENTS_BYTES = 2 * 2**30


@torch.no_grad()
def code_table(model: LatentAct, windows: Windows) -> Tensor:
    """Code indices (N,T,Q) int32 of all windows, in their order; a batch's are `table[batch.row_B]`.

    The release keys them by video and start, so that the clips of one video overwrite each other.
    """
    parts = torch.arange(len(windows)).split(_BATCH)
    return torch.cat([model.true_codes(windows.gather(part)).int() for part in parts])


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
