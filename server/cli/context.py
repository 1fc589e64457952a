"""What every command starts from: settings, and the workspace when it is asked for. Not a command."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from control_plane.ports import Store
    from control_plane.store.logins import Login
    from server.settings import Settings
    from server.workspace import Workspace


class Context:
    """Settings and workspace of one run of the program, each read when it is first used."""

    def __init__(self, workspace: Path | None) -> None:
        self._explicit = workspace

    @classmethod
    def of(cls, ctx: typer.Context) -> Context:
        """The one that the program's root made."""
        found = ctx.find_object(cls)
        return cls(None) if found is None else found

    @cached_property
    def settings(self) -> Settings:
        """What the environment says."""
        from server.settings import read_settings

        return read_settings()

    @property
    def explicit(self) -> Path | None:
        """The workspace's folder where one was named, by option or setting."""
        return self._explicit or self.settings.workspace

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace, initialised by this user."""
        from server.workspace import find

        return find(Path.cwd(), self.settings.home, self.explicit)

    @contextmanager
    def store(self, login: Login = "worker") -> Generator[Store]:
        """The workspace's store by one of its logins, closed at the end."""
        from server.opening import open_store

        store = open_store(self.workspace, login)
        try:
            yield store
        finally:
            store.close()
