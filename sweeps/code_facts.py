"""What the codes of a codebook stand for, found on the windows that trained it: use, motion, contact, words, neighbours.

Suffixes: W windows, T frames, Q quantizers, K codes, O offsets in time, C 73 motion channels, V 778 vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.code_use import CodeUse, code_use, use_of_counts
from trainables.codebook import Codebook
from trainables.hand import FINGERS
from trainables.latentact import LatentAct
from trainables.motion import CHANNELS
from trainables.windows import Batch, Windows

# Frames before and after the moment in which a code is chosen, over which its motion is shown.
OFFSETS = tuple(range(-12, 13, 3))
NEAREST = 3
MOST_WORDS = 48
_BATCH = 256
_LOOKED_AT = 400  # frames nearest to a code among which those of different clips are sought


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A frame of a training window that lies near a code."""

    row: int  # of the window
    frame: int  # within the window
    clip: int
    time_s: float  # within the clip
    distance: float  # in sizes of the quantizer's codes (root mean square of their lengths)


@dataclass(frozen=True, kw_only=True)
class CodeFacts:
    """Codes that no training frame chooses have zeros, and no neighbours."""

    train: CodeUse
    val: CodeUse
    motion_QKOC: NDArray[np.float32]  # mean decoded motion vectors around the moment
    contact_QKV: NDArray[np.float32]  # share of frames in which a vertex touches, where contact is known
    fingers_QKF: NDArray[np.float32]  # share of frames in which a finger touches (hand.FINGERS)
    touching_QK: NDArray[np.float32]  # share of frames in which anything does
    words: list[str]  # first words of action texts, the most frequent first
    words_QKN: NDArray[np.int64]  # frames by word
    neighbours: dict[
        tuple[int, int], list[Neighbour]
    ]  # (quantizer, code) -> nearest first, each of another clip
    windows: int
    clips: int


@torch.no_grad()
def code_facts(
    model: LatentAct,
    train: Windows,
    val: Windows,
    *,
    most_windows: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> CodeFacts:
    """Look at up to `most_windows` training windows, evenly spread, and as many of validation.

    Codes are the nearest ones, as in evaluation. `progress` is told of windows done and of all.
    """
    codebook = model.eval().codebook
    assert codebook is not None
    if codebook.config.told == "frame":
        train, val = train.with_every_frame_given(), val.with_every_frame_given()
    quantizer = codebook.config.quantizer
    sums = _Sums(train, quantizer.quantizers, quantizer.codes, model.hand.finger_V)
    chosen, chosen_val = (_some(len(windows), most_windows) for windows in (train, val))
    every = len(chosen) + len(chosen_val)
    done, index_WTQ, distance_WTQ = 0, [], []
    for batch, code_BTQ, distance_BTQ, latent_BTD in _encoded(model, codebook, train, chosen):
        motion_BTC, _ = codebook.decode(latent_BTD, batch)
        sums.add(batch, code_BTQ, motion_BTC)
        index_WTQ.append(code_BTQ.to(torch.int32).cpu())
        distance_WTQ.append(distance_BTQ.float().cpu())
        progress(done := done + len(batch), every)
    use_val = []
    for batch, code_BTQ, _, _ in _encoded(model, codebook, val, chosen_val):
        use_val.append(code_BTQ)
        progress(done := done + len(batch), every)
    size_Q = codebook.quantizer.stages_QKD.square().sum(-1).mean(-1).sqrt().clamp_min(1e-9).cpu()
    distance = (torch.cat(distance_WTQ) / size_Q).numpy()
    return CodeFacts(
        train=use_of_counts(sums.count_QK),
        val=code_use(use_val, quantizer.codes),
        words=sums.words,
        neighbours=_neighbours(train, chosen, torch.cat(index_WTQ).numpy(), distance, quantizer.codes),
        windows=len(chosen),
        clips=len(train.clip_N[chosen].unique()),
        **sums.means(),
    )


class _Sums:
    """Sums over frames, by the code that each quantizer chose for them."""

    def __init__(self, windows: Windows, quantizers: int, codes: int, finger_V: Tensor) -> None:
        self._clips, self._finger_V = windows.clips, finger_V
        self.words, word_of_text = _words(windows)
        self._word_of_text = word_of_text.to(windows.clips.device)
        shape, device = (quantizers, codes), windows.clips.device
        self.count_QK = torch.zeros(shape, dtype=torch.int64, device=device)
        self._motion_QKOC = torch.zeros(*shape, len(OFFSETS), CHANNELS, device=device)
        self._there_QKO = torch.zeros(*shape, len(OFFSETS), device=device)
        self._contact_QKV = torch.zeros(*shape, len(finger_V), device=device)
        self._fingers_QKF = torch.zeros(*shape, len(FINGERS) + 1, device=device)  # the last: anything
        self._known_QK = torch.zeros(shape, device=device)
        self._words_QKN = torch.zeros(*shape, len(self.words), dtype=torch.int64, device=device)

    def add(self, batch: Batch, code_BTQ: Tensor, motion_BTC: Tensor) -> None:
        """One batch's codes (B,T,Q) and the motion vectors (B,T,C) that were decoded from them."""
        frames, clips = motion_BTC.shape[1], self._clips
        steps_T = torch.arange(frames, device=motion_BTC.device)
        frame_BT = (clips.offsets_C1[batch.clip_B] + batch.start_B)[:, None] + steps_T
        word_N = self._word_of_text[clips.text_F[frame_BT]].flatten()
        known_N = batch.contact_known_BT.flatten()
        touch_NV = batch.contact_BTV.flatten(0, 1)[known_N]
        finger_NF = torch.zeros(len(touch_NV), len(FINGERS), device=touch_NV.device)
        finger_NF = finger_NF.index_add_(1, self._finger_V, touch_NV).clamp_max_(1)
        finger_NF = torch.cat([finger_NF, finger_NF.amax(1, keepdim=True)], dim=1)
        for q in range(code_BTQ.shape[2]):
            code_BT = code_BTQ[..., q]
            code_N = code_BT.flatten()
            ones_N = torch.ones_like(code_N)
            self.count_QK[q].index_add_(0, code_N, ones_N)
            self._words_QKN[q].index_put_((code_N, word_N), ones_N, accumulate=True)
            self._contact_QKV[q].index_add_(0, code_N[known_N], touch_NV)
            self._fingers_QKF[q].index_add_(0, code_N[known_N], finger_NF)
            self._known_QK[q].index_add_(0, code_N[known_N], ones_N[known_N].float())
            for place, offset in enumerate(OFFSETS):
                low, high = max(0, -offset), min(frames, frames - offset)
                if low >= high:
                    continue
                code_M = code_BT[:, low:high].flatten()
                seen_MC = motion_BTC[:, low + offset : high + offset].flatten(0, 1)
                self._motion_QKOC[q, :, place].index_add_(0, code_M, seen_MC)
                self._there_QKO[q, :, place].index_add_(0, code_M, torch.ones_like(code_M, dtype=torch.float))

    def means(self) -> dict[str, Any]:
        """The fields of CodeFacts; where a code is never seen so far before or after, its nearest moment stands."""
        motion_QKOC = (self._motion_QKOC / self._there_QKO.clamp_min(1)[..., None]).cpu().numpy()
        there_QKO = self._there_QKO.cpu().numpy() > 0
        middle = OFFSETS.index(0)
        for step in (1, -1):
            for place in range(middle + step, len(OFFSETS) if step > 0 else -1, step):
                lacking = ~there_QKO[..., place]
                motion_QKOC[lacking, place] = motion_QKOC[lacking, place - step]
        known_QK1 = self._known_QK.clamp_min(1)[..., None]
        fingers_QKF = (self._fingers_QKF / known_QK1).cpu().numpy()
        return {
            "motion_QKOC": motion_QKOC,
            "contact_QKV": (self._contact_QKV / known_QK1).cpu().numpy(),
            "fingers_QKF": fingers_QKF[..., :-1],
            "touching_QK": fingers_QKF[..., -1],
            "words_QKN": self._words_QKN.cpu().numpy(),
        }


def _encoded(
    model: LatentAct, codebook: Codebook, windows: Windows, rows: Tensor
) -> Iterator[tuple[Batch, Tensor, Tensor, Tensor]]:
    """Batches with their codes (B,T,Q), how far each quantizer's choice is from what it was given, and the latents."""
    with _given_to(codebook.quantizer) as given:
        for some in rows.split(_BATCH):
            batch = windows.gather(some)
            quantized = codebook.encode(model.target(batch), batch)
            residual_BTD, distances = given.pop(), []
            for q, codes_KD in enumerate(codebook.quantizer.stages_QKD):
                residual_BTD = residual_BTD - codes_KD[quantized.index_BTQ[..., q]]
                distances.append(residual_BTD.norm(dim=-1))
            yield batch, quantized.index_BTQ, torch.stack(distances, dim=-1), quantized.latent_BTD


@contextmanager
def _given_to(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """What a module is called with: the quantizer gives back the codes alone, and not how far away they were."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


def _neighbours(
    windows: Windows,
    chosen: Tensor,
    index_WTQ: NDArray[np.int32],
    distance_WTQ: NDArray[np.float32],
    codes: int,
) -> dict[tuple[int, int], list[Neighbour]]:
    frames = index_WTQ.shape[1]
    row_W = chosen.numpy()
    clip_W, start_W = windows.clip_N.cpu().numpy()[row_W], windows.start_N.cpu().numpy()[row_W]
    found: dict[tuple[int, int], list[Neighbour]] = {}
    for q in range(index_WTQ.shape[2]):
        code_N, distance_N = index_WTQ[..., q].ravel(), distance_WTQ[..., q].ravel()
        order = np.lexsort((distance_N, code_N))
        edges = np.searchsorted(code_N[order], np.arange(codes + 1))
        for code in range(codes):
            near: dict[int, Neighbour] = {}
            for place in order[edges[code] : min(edges[code + 1], edges[code] + _LOOKED_AT)].tolist():
                w, frame = divmod(place, frames)
                clip = int(clip_W[w])
                if clip not in near:
                    near[clip] = Neighbour(
                        row=int(row_W[w]),
                        frame=frame,
                        clip=clip,
                        time_s=float(start_W[w] + frame) / 30,
                        distance=float(distance_N[place]),
                    )
                if len(near) == NEAREST:
                    break
            if near:
                found[q, code] = list(near.values())
    return found


def _some(windows: int, most: int) -> Tensor:
    return torch.linspace(0, windows - 1, min(windows, most)).round().long().unique()


def _words(windows: Windows) -> tuple[list[str], Tensor]:
    """First words of the texts of the windows' clips, most frequent first, and each text's word; the rest is "other"."""
    clips = windows.clips
    used = torch.isin(torch.arange(len(clips), device=clips.device), windows.clip_N)
    frames_F = torch.repeat_interleave(used, clips.offsets_C1.diff())
    count_X = torch.bincount(clips.text_F[frames_F], minlength=len(clips.texts)).tolist()
    firsts = [(text.split() or [""])[0].lower() for text in clips.texts]
    total: dict[str, int] = {}
    for word, count in zip(firsts, count_X, strict=True):
        if count:
            total[word] = total.get(word, 0) + count
    words = sorted(total, key=lambda word: (-total[word], word))[:MOST_WORDS] + ["other"]
    place = {word: i for i, word in enumerate(words)}
    return words, torch.tensor([place.get(word, len(words) - 1) for word in firsts])
