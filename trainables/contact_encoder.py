"""Contact point -> feature: a Gaussian blob in a 16^3 volume through a 3D CNN, as the paper has it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from trainables.transformer import learned

SIDE = 16
FEATURES = 16


def contact_volume(point_B3: Tensor, box_23: Tensor) -> Tensor:
    """Volumes (B,16,16,16), indexed [x,y,z]: a Gaussian of one voxel's sigma and height 1 around each point.

    The release truncates a point to its voxel and stamps a 7^3 patch; here the blob is centred where the point
    is, so that no position is lost, and a point outside the box leaves an empty volume and crashes nothing.

    Args:
        point_B3: points in metres, in the window's first camera.
        box_23: near and far corner of the training contacts, metres.
    """
    voxel_B3 = (point_B3 - box_23[0]) / (box_23[1] - box_23[0]) * (SIDE - 1)
    lattice_S = torch.arange(SIDE, device=point_B3.device, dtype=point_B3.dtype)
    axis_B3S = torch.exp(-0.5 * (lattice_S - voxel_B3[..., None]) ** 2)
    return torch.einsum("bx,by,bz->bxyz", *axis_B3S.unbind(1))


class ContactEncoder(nn.Module):
    """The volume through the paper's 3D CNN, beside the point itself; unknown contact is learned.

    The paper's second CNN, over the lattice coordinates, is left out: its input is the same for every sample.
    """

    box_23: Tensor
    mean_3: Tensor
    std_3: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("box_23", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        self.register_buffer("mean_3", torch.zeros(3))
        self.register_buffer("std_3", torch.ones(3))
        layers: list[nn.Module] = []
        channels = (1, FEATURES // 4, FEATURES // 2, FEATURES // 2, FEATURES, FEATURES)
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.ReLU()]
            if i < 4:
                layers.append(nn.MaxPool3d(2))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.unknown = learned(FEATURES + 3)

    @torch.no_grad()
    def fit(self, point_N3: Tensor) -> None:
        """Take box, mean and deviation from the known contact points of the training windows."""
        low, high = point_N3.amin(0), point_N3.amax(0)
        margin = 0.05 * (high - low).clamp_min(0.02)
        self.box_23.copy_(torch.stack([low - margin, high + margin]))
        self.mean_3.copy_(point_N3.mean(0))
        self.std_3.copy_(point_N3.std(0).clamp_min(1e-2) if len(point_N3) > 1 else torch.ones(3))

    def forward(self, point_B3: Tensor, known_B: Tensor) -> Tensor:
        """Features (B,19) of contact points (B,3): 16 of the volume, 3 of the point, normalised."""
        point_B3 = point_B3.where(known_B[:, None], self.box_23.mean(0))
        volume = contact_volume(point_B3, self.box_23)
        centred_B3 = (point_B3 - self.mean_3) / self.std_3
        feature = torch.cat([self.layers(volume[:, None]), centred_B3], dim=-1)
        return feature.where(known_B[:, None], self.unknown)
