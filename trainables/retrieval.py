"""Retrieval: the training window whose inputs are nearest, moved onto the given contact point. Nothing is learned.

Two windows' inputs are compared in three parts, each scaled so that two training windows drawn at random are about 1
apart: text (0 the same, 0.5 the same verb, 1 another verb; or the squared distance of a frozen encoder's features),
image (squared distance of thumbnails of 8 by 8 pixels, or of frozen features) and contact point (squared distance). A
part that one window knows and the other does not counts 1. How much text and image weigh beside the contact point, and
over how many neighbours trajectory and contact map are averaged (1: plain retrieval), is chosen on validation windows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables import metrics
from trainables.evaluate import batches, best_contact_threshold, evaluate
from trainables.evaluation import Evaluation
from trainables.trivial import TrivialForecast, verb
from trainables.windows import Batch, Inputs, Windows

# 1000: a window of the same text is nearer than any of another one.
TEXT_WEIGHTS = (1.0, 1000.0)
IMAGE_WEIGHTS = (0.0, 0.3, 1.0)
NEIGHBOURS = (1, 4, 16)

_THUMBNAIL = 8  # pixels a side
_TRAIN_AT_ONCE = 16384  # training windows compared at once: 256 queries take 50 MB
_CHOSEN_ON = 512  # validation windows, evenly spread: enough for three constants


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What is chosen on validation windows; the contact point weighs 1."""

    text: float = 1.0
    image: float = 0.3
    neighbours: int = 1


@dataclass(frozen=True, kw_only=True)
class Described:
    """Inputs of N windows as retrieval compares them. S given frames."""

    text_N2: Tensor  # int64, codes of the text and of its verb
    text_NF: Tensor | None  # of a frozen encoder
    text_known_N: Tensor
    image_NSF: Tensor
    image_known_NS: Tensor
    point_NS3: Tensor  # metres, reference camera
    point_known_NS: Tensor

    def __len__(self) -> int:
        return len(self.text_N2)

    def rows(self, index: Tensor | slice) -> Described:
        """Some of the windows."""
        columns: dict[str, Any] = {n: None if v is None else v[index] for n, v in vars(self).items()}
        return Described(**columns)


class Retrieval:
    """The training windows to be found: those whose camera is known in every frame.

    Raises:
        ValueError: there is no such window.
    """

    def __init__(self, train: Windows, *, batch: int = 256) -> None:
        self.train = train
        self._codes: dict[str, int] = {}
        rows: list[Tensor] = []
        parts: list[Described] = []
        for truth in batches(train, batch):
            whole = truth.camera_known_BT.all(dim=1).nonzero()[:, 0]
            rows.append(whole + len(rows) * batch)
            parts.append(self.describe(truth).rows(whole))
        self.row_N = torch.cat(rows)
        if not len(self.row_N):
            raise ValueError("no training window knows its camera in every frame: there is none to retrieve")
        self.windows = windows = _joined(parts)
        self._image_scale = _scale(windows.image_NSF, windows.image_known_NS)
        self._point_scale = _scale(windows.point_NS3, windows.point_known_NS)
        self._text_scale = 1.0 if windows.text_NF is None else _scale(windows.text_NF, windows.text_known_N)

    def describe(self, inputs: Inputs) -> Described:
        """The inputs of a batch, its images made small."""
        image_NSX = inputs.image_BSX
        if image_NSX.dim() == 5 and not image_NSX.numel():  # of a data set without images
            image_NSX = image_NSX.new_zeros(*inputs.image_known_BS.shape, 1)
        elif image_NSX.dim() == 5:  # pixels (B,S,H,W,3)
            pixels = image_NSX.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
            small = F.adaptive_avg_pool2d(pixels, _THUMBNAIL).flatten(1)
            image_NSX = small.unflatten(0, inputs.image_known_BS.shape)
        return Described(
            text_N2=self._text_codes(inputs),
            text_NF=inputs.text_BF,
            text_known_N=inputs.text_known_B,
            image_NSF=image_NSX.float(),
            image_known_NS=inputs.image_known_BS,
            point_NS3=inputs.point_BS3,
            point_known_NS=inputs.point_known_BS,
        )

    def _text_codes(self, inputs: Inputs) -> Tensor:
        """Numbers (B,2) that are equal where texts, and where their verbs, are equal."""
        distinct, inverse_B = inputs.text_B.unique(return_inverse=True)
        texts = [inputs.texts[i] for i in distinct.tolist()]
        words = [(f"text {text}", f"verb {verb(text)}") for text in texts]
        codes = [[self._codes.setdefault(word, len(self._codes)) for word in pair] for pair in words]
        return torch.tensor(codes, device=inverse_B.device)[inverse_B]

    def distances(self, query: Described, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Text, image and contact point distances (B,N) to some of the training windows."""
        windows = self.windows.rows(part)
        if query.text_NF is not None and windows.text_NF is not None:
            text_BN = _squared(query.text_NF, windows.text_NF) / self._text_scale
        else:
            text_BN = 1.0 - 0.5 * (query.text_N2[:, None] == windows.text_N2).float().sum(dim=-1)
        text_BN = _where_known(text_BN, query.text_known_N, windows.text_known_N)
        image_BN, point_BN = torch.zeros_like(text_BN), torch.zeros_like(text_BN)
        for s in range(query.point_known_NS.shape[1]):
            image = _squared(query.image_NSF[:, s], windows.image_NSF[:, s]) / self._image_scale
            image_BN += _where_known(image, query.image_known_NS[:, s], windows.image_known_NS[:, s])
            point = _squared(query.point_NS3[:, s], windows.point_NS3[:, s]) / self._point_scale
            point_BN += _where_known(point, query.point_known_NS[:, s], windows.point_known_NS[:, s])
        return text_BN, image_BN, point_BN

    def nearest(self, query: Described, weights: Sequence[Weights]) -> list[Tensor]:
        """For each of the weights the nearest training windows (B,k), nearest first; of equals the first."""
        best: list[tuple[Tensor, Tensor] | None] = [None] * len(weights)
        for start in range(0, len(self.windows), _TRAIN_AT_ONCE):
            part = slice(start, min(start + _TRAIN_AT_ONCE, len(self.windows)))
            text_BN, image_BN, point_BN = self.distances(query, part)
            index_N = torch.arange(part.start, part.stop, device=text_BN.device)
            for i, weight in enumerate(weights):
                distance_BN = weight.text * text_BN + weight.image * image_BN + point_BN
                # Of equal ones the first, which `topk` alone does not promise.
                distance_BN = distance_BN.double() + 1e-12 * index_N
                index_BN = index_N.expand_as(distance_BN)
                if (before := best[i]) is not None:
                    distance_BN = torch.cat([before[0], distance_BN], dim=1)
                    index_BN = torch.cat([before[1], index_BN], dim=1)
                few = min(weight.neighbours, distance_BN.shape[1])
                distance_BK, order_BK = distance_BN.topk(few, dim=1, largest=False)
                best[i] = (distance_BK, index_BN.gather(1, order_BK))
        return [found[1] for found in best if found is not None]

    def predict(self, truth: Batch, weights: Weights) -> TrivialForecast:
        """The mean of the nearest windows' trajectories, each moved, and their mean contact, (B,...)."""
        query = self.describe(truth)
        (index_BK,) = self.nearest(query, [weights])
        sums: list[Tensor] = []
        for index_B in index_BK.unbind(dim=1):  # one neighbour at a time: contact maps are large
            joints_BTJ3, found = self.moved(query, index_B)
            known_BT1 = found.contact_known_BT[..., None].float()
            addends = [joints_BTJ3, found.contact_BTV * known_BT1, known_BT1]
            sums = [a + b for a, b in zip(sums, addends, strict=True)] if sums else addends
        joints_BTJ3, contact_BTV, known_BT1 = sums
        return TrivialForecast(
            joints_ref_BTJ3=joints_BTJ3 / index_BK.shape[1],
            contact_logits_BTV=torch.logit(contact_BTV / known_BT1.clamp_min(1.0)),
        )

    def moved(self, query: Described, index_B: Tensor) -> tuple[Tensor, Batch]:
        """Joints (B,T,J,3) of training windows, translated so that their contact points fall on the given ones where
        both are known, and those windows."""
        found = self.train.gather(self.row_N[index_B])
        windows = self.windows.rows(index_B)
        both_BS1 = (query.point_known_NS & windows.point_known_NS)[..., None]
        shift_BS3 = torch.where(both_BS1, query.point_NS3 - windows.point_NS3, 0.0)
        shift_B3 = shift_BS3.sum(dim=1) / both_BS1.sum(dim=1).clamp_min(1)
        return found.joints_ref_BTJ3 + shift_B3[:, None, None], found


@torch.no_grad()
def best_weights(retrieval: Retrieval, val: Windows, *, batch: int = 256) -> Weights:
    """The weights with the lowest MPJPE on validation windows, at most 512 of them, evenly spread."""
    most = max(NEIGHBOURS)
    pairs = [
        Weights(text=text, image=image, neighbours=most)
        for text, image in itertools.product(TEXT_WEIGHTS, IMAGE_WEIGHTS)
    ]
    total: dict[Weights, float] = {}
    chosen_W = torch.arange(0, len(val), -(-len(val) // _CHOSEN_ON))
    for rows in chosen_W.split(batch):
        truth = val.gather(rows)
        query = retrieval.describe(truth)
        for pair, index_BK in zip(pairs, retrieval.nearest(query, pairs), strict=True):
            joints = torch.zeros_like(truth.joints_ref_BTJ3)
            for k, index_B in enumerate(index_BK.unbind(dim=1), 1):
                joints = joints + retrieval.moved(query, index_B)[0]
                # With fewer training windows than neighbours the last mean stands for the larger numbers.
                if k in NEIGHBOURS or k == index_BK.shape[1]:
                    error_B = metrics.mpjpe(joints / k, truth.joints_ref_BTJ3, truth.camera_known_BT)
                    key = Weights(text=pair.text, image=pair.image, neighbours=k)
                    total[key] = total.get(key, 0.0) + float(error_B.nansum())
    return min(total, key=lambda weights: total[weights])


def evaluate_retrieval(
    train: Windows,
    val: Windows,
    test: Windows,
    group: str,
    *,
    batch: int = 256,
    finger_V: Tensor | None = None,
) -> tuple[Evaluation, Weights]:
    """Retrieval from `train`, its weights and its contact threshold chosen on `val`, scored on `test`.

    `finger_V` as in `evaluate`.

    Raises:
        ValueError: as `evaluate`, and where no training window knows its camera throughout.
    """
    retrieval = Retrieval(train, batch=batch)
    weights = best_weights(retrieval, val, batch=batch)

    def predict(truth: Batch) -> TrivialForecast:
        return retrieval.predict(truth, weights)

    threshold, _ = best_contact_threshold(predict, val, batch=batch)
    scores = evaluate(predict, test, group, batch=batch, contact_threshold=threshold, finger_V=finger_V)
    return scores, weights


def _joined(parts: Sequence[Described]) -> Described:
    columns = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
    whole: dict[str, Any] = {n: None if c[0] is None else torch.cat(c) for n, c in columns.items()}
    return Described(**whole)


def _scale(values_NSF: Tensor, known_NS: Tensor) -> float:
    """Mean squared distance of two windows drawn at random among those that know the value; 1 where all are equal."""
    known_MF = values_NSF[known_NS].double()
    if len(known_MF) < 2:
        return 1.0
    return float(2 * known_MF.var(dim=0, correction=0).sum()) or 1.0


def _squared(a_BF: Tensor, b_NF: Tensor) -> Tensor:
    """Squared distances (B,N), exact where a and b are equal."""
    return torch.cdist(a_BF, b_NF, compute_mode="donot_use_mm_for_euclid_dist").square()


def _where_known(distance_BN: Tensor, known_B: Tensor, known_N: Tensor) -> Tensor:
    both_BN = known_B[:, None] & known_N
    return torch.where(both_BN, distance_BN, (known_B[:, None] ^ known_N).to(distance_BN.dtype))
