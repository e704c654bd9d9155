"""The model zoo: where the best models live, and who may replace them.

    import zoo
    trajectory = zoo.load("latentact-world-objects@champion").predict(image="hand.png", text="grasp the mug")

Importing this module is cheap: what a function needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.catalogue import card as card
    from zoo.catalogue import ls as ls
    from zoo.catalogue import show as show
    from zoo.errors import ZooError as ZooError
    from zoo.loading import load as load
    from zoo.promotion import history as history
    from zoo.promotion import promote as promote
    from zoo.publishing import publish as publish
    from zoo.pulling import pull as pull
    from zoo.store import open_store as open_store

_HOME = {  # name -> module
    "publish": "publishing",
    "pull": "pulling",
    "load": "loading",
    "ls": "catalogue",
    "show": "catalogue",
    "card": "catalogue",
    "promote": "promotion",
    "history": "promotion",
    "open_store": "store",
    "ZooError": "errors",
}
__all__ = [
    "ZooError",
    "card",
    "history",
    "load",
    "ls",
    "open_store",
    "promote",
    "publish",
    "pull",
    "show",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"zoo.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
