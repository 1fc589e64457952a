"""Imports every room, and the libraries that the rooms import late. Holds nothing, and starts nothing."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import threading

import paybill

_ROOMS = ("control_plane", "policies", "graphs", "tools", "server")
_LATE = ("dbos", "langgraph.graph", "uvicorn")


def _import_all() -> None:
    for room in _ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            # The migrations are scripts: only their own tool can run them.
            if ".migrations" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)


assert paybill.check_rooms() == ()
_import_all()
# A fork takes one thread along: a second one here would leave its locks held for ever.
assert threading.active_count() == 1, threading.enumerate()
# A child that went through all of this for garbage would copy every page of it.
gc.collect()
gc.freeze()
