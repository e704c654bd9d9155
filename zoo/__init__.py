"""The model zoo: where the best models live, and who may replace them.

    import zoo
    trajectory = zoo.load("latentact-world-objects@champion").predict(image="hand.png", text="grasp the mug")
    zoo.write_trajectory(trajectory, "grasp", image="hand.png", text="grasp the mug")    # npz, GIF, viewer

Importing this module is cheap: what a function needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.alias_log import history as history
    from zoo.archive import export_archive as export_archive
    from zoo.archive import import_archive as import_archive
    from zoo.catalogue import card as card
    from zoo.catalogue import ls as ls
    from zoo.catalogue import show as show
    from zoo.catalogue import versions as versions
    from zoo.collecting import gc as gc
    from zoo.differences import diff as diff
    from zoo.errors import ZooError as ZooError
    from zoo.gate_looks import looks as looks
    from zoo.loading import load as load
    from zoo.photo_camera import camera_of as camera_of
    from zoo.photo_camera import open_photo as open_photo
    from zoo.predicting import predict as predict
    from zoo.promotion import promote as promote
    from zoo.pruning import cached as cached
    from zoo.pruning import prune as prune
    from zoo.publishing import publish as publish
    from zoo.pulling import pull as pull
    from zoo.registry_rebuild import rebuild_registry as rebuild_registry
    from zoo.rolling_back import rollback as rollback
    from zoo.store import open_store as open_store
    from zoo.trajectory_files import write_trajectory as write_trajectory
    from zoo.verification import verify as verify
    from zoo.verification import verify_all as verify_all

_HOME = {  # name -> module
    "publish": "publishing",
    "pull": "pulling",
    "cached": "pruning",
    "prune": "pruning",
    "export_archive": "archive",
    "import_archive": "archive",
    "load": "loading",
    "predict": "predicting",
    "write_trajectory": "trajectory_files",
    "open_photo": "photo_camera",
    "camera_of": "photo_camera",
    "ls": "catalogue",
    "show": "catalogue",
    "versions": "catalogue",
    "diff": "differences",
    "card": "catalogue",
    "promote": "promotion",
    "rollback": "rolling_back",
    "history": "alias_log",
    "looks": "gate_looks",
    "rebuild_registry": "registry_rebuild",
    "gc": "collecting",
    "verify": "verification",
    "verify_all": "verification",
    "open_store": "store",
    "ZooError": "errors",
}
__all__ = [
    "ZooError",
    "cached",
    "camera_of",
    "card",
    "diff",
    "export_archive",
    "gc",
    "history",
    "import_archive",
    "load",
    "looks",
    "ls",
    "open_photo",
    "open_store",
    "predict",
    "promote",
    "prune",
    "publish",
    "pull",
    "rebuild_registry",
    "rollback",
    "show",
    "verify",
    "verify_all",
    "versions",
    "write_trajectory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"zoo.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
