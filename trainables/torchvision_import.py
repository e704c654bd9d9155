"""Importing torchvision, which timm and open_clip need for their picture transforms, beside any build of torch.

A torchvision wheel built for CUDA finds none of its compiled operators beside a CPU build of torch, and then its import
fails while it describes two of them (nms and qnms) to torch. No operator is used here: declaring the two lets the rest of
the package be imported. Where the wheels fit each other nothing is done.
"""

from __future__ import annotations

import sys

import torch

_OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []  # a declaration lives as long as its library object


def import_torchvision() -> None:
    """Import torchvision, with or without its compiled operators.

    Raises:
        ImportError: it is not installed, or does not fit this torch in another way.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if _declared or "operator torchvision::" not in str(error):
            raise ImportError(f"torchvision does not fit torch {torch.__version__}: {error}") from error
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        # What the failed import has left behind would be taken for whole.
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        import_torchvision()
