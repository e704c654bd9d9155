"""Contact point -> feature: a Gaussian blob in a 16^3 volume through a 3D CNN, as the paper has it, or a small MLP."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.transformer import learned

SIDE = 16
FEATURES = 16
CONTACT_ENCODERS = ("volume", "points")
# Volumes convolved at once: few enough that the widest layer's output (8 MiB) stays in cache. The 3,840 volumes of a
# codebook batch take 0.43 s forward and backward so, and 0.61 s at once (2 CPU threads).
CHUNK = 128


def axis_gaussians(point_N3: Tensor, box_23: Tensor) -> Tensor:
    """A Gaussian of one voxel's sigma and height 1 along each axis of the box, (N,3,16)."""
    voxel_N3 = (point_N3 - box_23[0]) / (box_23[1] - box_23[0]) * (SIDE - 1)
    lattice_S = torch.arange(SIDE, device=point_N3.device, dtype=point_N3.dtype)
    return torch.exp(-0.5 * (lattice_S - voxel_N3[..., None]) ** 2)


def contact_volume(point_N3: Tensor, box_23: Tensor) -> Tensor:
    """Volumes (N,16,16,16), indexed [x,y,z]: the product of the three axes' Gaussians around each point.

    The release truncates a point to its voxel and stamps a 7^3 patch; here the blob is centred where the point
    is, so that no position is lost, and a point outside the box leaves an empty volume and crashes nothing.

    Args:
        point_N3: points in metres, in the window's first camera.
        box_23: near and far corner of the training contacts, metres.
    """
    return torch.einsum("bx,by,bz->bxyz", *axis_gaussians(point_N3, box_23).unbind(1))


def first_convolution(axis_N3S: Tensor, weight_C1333: Tensor) -> Tensor:
    """`conv3d(volume, weight, padding=1)` of volumes that are products of their axes, (N,C,16,16,16).

    A product's convolution is three small contractions, one an axis: a seventh of the arithmetic, and the volumes
    themselves are never made.
    """
    x, y, z = F.pad(axis_N3S, (1, 1)).unfold(-1, 3, 1).unbind(1)  # each (N,16,3)
    out = torch.einsum("nzk,cijk->ncijz", z, weight_C1333[:, 0])
    out = y[:, None, None] @ out  # n c i y z
    return (x[:, None] @ out.flatten(-2)).unflatten(-1, (SIDE, SIDE))


class VolumeEncoder(nn.Module):
    """The paper's 3D CNN over the contact volume, 16 features.

    Its second CNN, over the lattice coordinates, is left out: its input is the same for every sample.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (1, FEATURES // 4, FEATURES // 2, FEATURES // 2, FEATURES, FEATURES)
        pairs = list(itertools.pairwise(channels))
        self.first = nn.Conv3d(*pairs[0], 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv3d(*pair, 3, padding=1) for pair in pairs[1:])

    def forward(self, point_N3: Tensor, box_23: Tensor) -> Tensor:
        """Features (N,16) of points (N,3) in metres."""
        axis_N3S = axis_gaussians(point_N3, box_23)
        return torch.cat([self._encode(part) for part in axis_N3S.split(CHUNK)])

    def _encode(self, axis_N3S: Tensor) -> Tensor:
        # Pooling commutes with a bias and with ReLU, and leaves them an eighth of the work.
        x = F.max_pool3d(first_convolution(axis_N3S, self.first.weight), 2)
        x = x + self.first.bias[:, None, None, None]  # type: ignore[index]
        for i, layer in enumerate(self.layers):
            x = F.max_pool3d(x, 2) if i else x
            x = layer(x.relu().contiguous(memory_format=torch.channels_last_3d))
        return x.relu().flatten(1)


class PointEncoder(nn.Module):
    """Three coordinates through an MLP over sines of growing frequency, 16 features (Tancik et al. 2020)."""

    frequency_F: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency_F", torch.pi * 2.0 ** torch.arange(4))
        self.layers = nn.Sequential(
            nn.Linear(3 * (1 + 2 * 4), 64), nn.ReLU(), nn.Linear(64, FEATURES), nn.ReLU()
        )

    def forward(self, point_N3: Tensor, box_23: Tensor) -> Tensor:
        """Features (N,16) of points (N,3) in metres."""
        unit_N3 = (point_N3 - box_23.mean(0)) / (box_23[1] - box_23[0])
        phase = (unit_N3[..., None] * self.frequency_F).flatten(1)
        return self.layers(torch.cat([unit_N3, phase.sin(), phase.cos()], dim=-1))


class ContactEncoder(nn.Module):
    """A contact point's feature, beside the point itself; unknown contact is learned.

    Args:
        kind: "volume" (the paper's) or "points"; see CONTACT_ENCODERS.
    """

    box_23: Tensor
    mean_3: Tensor
    std_3: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.register_buffer("box_23", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        self.register_buffer("mean_3", torch.zeros(3))
        self.register_buffer("std_3", torch.ones(3))
        self.encoder = {"volume": VolumeEncoder, "points": PointEncoder}[kind]()
        self.width = FEATURES + 3
        self.unknown = learned(self.width)

    @torch.no_grad()
    def fit(self, point_N3: Tensor) -> None:
        """Take box, mean and deviation from the known contact points of the training windows."""
        low, high = point_N3.amin(0), point_N3.amax(0)
        margin = 0.05 * (high - low).clamp_min(0.02)
        self.box_23.copy_(torch.stack([low - margin, high + margin]))
        self.mean_3.copy_(point_N3.mean(0))
        self.std_3.copy_(point_N3.std(0).clamp_min(1e-2) if len(point_N3) > 1 else torch.ones(3))

    def forward(self, point_N3: Tensor, known_N: Tensor) -> Tensor:
        """Features (N,19) of contact points (N,3): 16 of the encoder, 3 of the point, normalised."""
        point_N3 = point_N3.where(known_N[:, None], self.box_23.mean(0))
        # On a CPU the backward pass of these convolutions in bfloat16 gave NaN now and then (docs/log.md).
        with torch.autocast(point_N3.device.type, enabled=False):
            encoded_NF = self.encoder(point_N3, self.box_23)
        feature = torch.cat([encoded_NF, (point_N3 - self.mean_3) / self.std_3], dim=-1)
        return feature.where(known_N[:, None], self.unknown)
