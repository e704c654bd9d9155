"""What all metrics of 128 windows of 30 frames cost, in matrix products.

    python -m tests.benchmarks.metrics_speed

The unit mm is the time of one 2048 x 2048 x 2048 float32 product in this process, on 2 CPU threads (`--threads`), taken
between the repetitions of what it measures. The bar: metrics and hand model together at most 2 mm. The naive rival is
the released code's way to the Procrustes figures alone: a numpy SVD for every frame, every window and every first
frame, in a Python loop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import roma
import torch
from torch import Tensor

from trainables import contact_curve, metrics
from trainables.evaluate import best_contact_threshold, evaluate
from trainables.hand import FINGERS, Hand, load_hand

B, T, J, V = 128, 30, 21, 778


class MadeUpWindows:
    """One batch of windows with a forecast for each; gathering and predicting cost nothing."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        joints_BTJ3 = 0.1 * torch.randn(B, T, J, 3, generator=g) + torch.tensor([0.0, 0.0, 0.5])
        near_BTJ3 = joints_BTJ3 + 0.02 * torch.randn(B, T, J, 3, generator=g)
        contact_BTV = (torch.rand(B, T, V, generator=g) < 0.2).float()
        shared = {"transl_BT3": joints_BTJ3[:, :, 0], "camera_transl_BT3": joints_BTJ3[:, :, 1]}
        self.truth: Any = SimpleNamespace(
            joints_ref_BTJ3=joints_BTJ3,
            joints_BTJ3=joints_BTJ3,
            camera_rot_BT33=roma.random_rotmat((B, T), generator=g),
            camera_known_BT=torch.rand(B, T, generator=g) < 0.9,
            contact_BTV=contact_BTV,
            contact_known_BT=torch.rand(B, T, generator=g) < 0.9,
            clip_B=torch.arange(B) // 4,
            start_B=torch.arange(B) % 4,
            text_B=torch.zeros(B, dtype=torch.int64),
            **shared,
        )
        self.forecast: Any = SimpleNamespace(
            joints_ref_BTJ3=near_BTJ3,
            joints_BTJ3=near_BTJ3,
            camera_rot_BT33=roma.random_rotmat((B, T), generator=g),
            contact_logits_BTV=3 * contact_BTV - 3 + torch.randn(B, T, V, generator=g),
            **shared,
        )
        self.texts = ["lift the cup"]
        groups = {"object": [f"object {c % 8}" for c in range(B // 4)]}
        self.clips = SimpleNamespace(clip_ids=[f"clip {c}" for c in range(B // 4)], groups=groups)

    def __len__(self) -> int:
        return B

    def gather(self, index: Tensor) -> Any:
        return self.truth


def naive_procrustes(pred_BTJ3: np.ndarray, true_BTJ3: np.ndarray) -> None:
    """Per frame, per trajectory and by the first frame, with an SVD at a time."""

    def fit(p: np.ndarray, q: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        p_mean, q_mean = p.mean(0), q.mean(0)
        u, d, vt = np.linalg.svd((q - q_mean).T @ (p - p_mean))
        sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        rotation = (u * sign) @ vt
        scale = (d * sign).sum() / ((p - p_mean) ** 2).sum()
        return scale, rotation, q_mean - scale * rotation @ p_mean

    def error(p: np.ndarray, q: np.ndarray, s: float, r: np.ndarray, t: np.ndarray) -> float:
        return float(np.linalg.norm(s * p @ r.T + t - q, axis=-1).mean())

    for pred, true in zip(pred_BTJ3, true_BTJ3, strict=True):
        for p, q in zip(pred, true, strict=True):
            error(p, q, *fit(p, q))
        flat = pred.reshape(-1, 3), true.reshape(-1, 3)
        error(*flat, *fit(*flat))
        error(*flat, *fit(pred[0], true[0]))


def joints_of(hand: Hand) -> Callable[[], Tensor]:
    g = torch.Generator().manual_seed(1)
    rows = [torch.randn(B * T, n, generator=g) * 0.3 for n in (3, 45, 10, 3)]
    return lambda: hand.joints(*rows)


def measure(call: Callable[[], Any], repetitions: int) -> tuple[list[float], list[float]]:
    """Seconds of the call, and of a product before each."""
    a, b = torch.randn(2, 2048, 2048)
    call()
    torch.mm(a, b)
    seconds, unit = [], []
    for _ in range(repetitions):
        started = time.perf_counter()
        torch.mm(a, b)
        between = time.perf_counter()
        call()
        unit.append(between - started)
        seconds.append(time.perf_counter() - between)
    return seconds, unit


@click.command(help=__doc__)
@click.option("--threads", default=2, show_default=True)
@click.option("--repetitions", default=15, show_default=True)
def main(threads: int, repetitions: int) -> None:
    torch.set_num_threads(threads)
    windows, hand = MadeUpWindows(), load_hand()
    f, t, fake = windows.forecast, windows.truth, windows
    ref = f.joints_ref_BTJ3, t.joints_ref_BTJ3
    arrays = [x.double().numpy() for x in ref]
    table = contact_curve.level_table(contact_curve.THRESHOLDS)
    contact = f.contact_logits_BTV, t.contact_BTV, t.contact_known_BT
    camera = f.camera_rot_BT33, f.camera_transl_BT3, t.camera_rot_BT33, t.camera_transl_BT3
    parts: dict[str, Callable[[], Any]] = {
        "hand model, joints": joints_of(hand),
        "own camera, with Procrustes": lambda: metrics.own_camera_metrics(*ref, t.camera_known_BT),
        "first camera, with Procrustes": lambda: metrics.first_camera_metrics(*ref, t.camera_known_BT),
        "jerk": lambda: metrics.jerk_metrics(*ref, t.camera_known_BT, 30.0),
        "camera": lambda: metrics.camera_metrics(*camera, t.camera_known_BT),
        "contact by finger, one threshold": lambda: [
            metrics.finger_contact_counts(
                torch.sigmoid(contact[0][part]) > 0.5,
                contact[1][part],
                contact[2][part],
                hand.finger_V,
                len(FINGERS),
            )
            for part in contact_curve.steps(B)
        ],
        "contact by finger, all thresholds": lambda: contact_curve.level_histogram(
            *contact, table, contact_curve.LEVELS, hand.finger_V, len(FINGERS)
        ),
        "evaluate, threshold given": lambda: evaluate(
            lambda batch: f,
            fake,
            "object",
            batch=B,
            finger_V=hand.finger_V,  # type: ignore[arg-type]
        ),
        "evaluate, threshold chosen": lambda: evaluate(
            lambda batch: f,
            fake,
            "object",
            batch=B,
            finger_V=hand.finger_V,
            contact_threshold=None,  # type: ignore[arg-type]
        ),
        "best threshold alone": lambda: best_contact_threshold(lambda batch: f, fake, batch=B),  # type: ignore[arg-type]
        "naive Procrustes (rival)": lambda: naive_procrustes(*arrays),
    }
    click.echo(f"{B} windows of {T} frames, {threads} threads, median [quartiles] of {repetitions}")
    with torch.no_grad():
        for name, call in parts.items():
            seconds, unit = measure(call, 3 if "naive" in name else repetitions)
            mm_s = statistics.median(unit)
            low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
            click.echo(
                f"{name:36s} {middle / mm_s:6.3f} [{low / mm_s:.3f}, {high / mm_s:.3f}] mm"
                f"  {1e3 * middle:7.1f} ms  (mm = {1e3 * mm_s:.0f} ms)"
            )


if __name__ == "__main__":
    main()
