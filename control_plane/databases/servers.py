"""The servers that tenants' databases stand on, by name. Not an engine, nor who is where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from control_plane.databases.port import DatabaseEngine, DatabaseServer
from control_plane.domain.home import MAIN, Home
from control_plane.errors import Unavailable


def _none() -> Sequence[str]:
    return ()


class NamedServers:
    """DatabaseServers over the workspace's own server, and others that are opened when they are asked for.

    `others` names those that are declared now: one may be added while a process runs. `opened`
    opens one of them.
    """

    def __init__(
        self,
        main: DatabaseServer,
        others: Callable[[], Sequence[str]] = _none,
        opened: Callable[[str], DatabaseServer] | None = None,
    ) -> None:
        self._others = others
        self._opened = opened
        self._servers = {MAIN: main}
        # Each slot's engine is made once: on SQLite it keeps what it has opened.
        self._engines: dict[tuple[str, int], DatabaseEngine] = {}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The servers that there are, the workspace's own first."""
        return (MAIN, *self._others())

    @property
    def main(self) -> DatabaseEngine:
        """The first places of the workspace's own server: where a tenant begins."""
        return self.at(Home("pooled"))

    def at(self, home: Home) -> DatabaseEngine:
        """The engine that sees a home. Raises Unavailable (`server_unknown`)."""
        key = home.server, home.slot
        with self._lock:
            if key not in self._engines:
                self._engines[key] = self._server(home.server).slot(home.slot)
            return self._engines[key]

    def close(self) -> None:
        """Close every connection that is not in use."""
        for engine in self._engines.values():
            engine.close()
        for server in self._servers.values():
            server.close()

    def _server(self, name: str) -> DatabaseServer:
        if name not in self._servers:
            if self._opened is None or name not in self._others():
                raise Unavailable("The database's server is not known here.", code="server_unknown")
            self._servers[name] = self._opened(name)
        return self._servers[name]
