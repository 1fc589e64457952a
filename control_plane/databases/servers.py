"""The servers that tenants' databases stand on, by name. Not an engine, nor who is where."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from threading import Lock

from control_plane.databases.port import DatabaseEngine, DatabaseServer
from control_plane.databases.unmade import UnmadeServer
from control_plane.domain.home import MAIN, Home, is_stack_server
from control_plane.errors import Unavailable


def _none() -> Sequence[str]:
    return ()


def _nobody(_name: str) -> bool:
    return False


class NamedServers:
    """DatabaseServers over the workspace's own server, and others that are opened when they are asked for.

    `others` names those that are declared now: one may be added while a process runs. `opened`
    opens one of them. `stamp` tells one declaration of a name from the next, and None where it is
    not declared; `begun` says whether the making of a stack's server has begun and was not taken
    back: of one that has not, it is known that nothing stands there.
    """

    def __init__(
        self,
        main: DatabaseServer,
        others: Callable[[], Sequence[str]] = _none,
        opened: Callable[[str], DatabaseServer] | None = None,
        stamp: Callable[[str], Hashable | None] | None = None,
        begun: Callable[[str], bool] = _nobody,
    ) -> None:
        self._main = main
        self._others = others
        self._opened = opened
        self._stamp = stamp or self._is_declared
        self._begun = begun
        self._servers: dict[str, tuple[Hashable, DatabaseServer]] = {}
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
        with self._lock:
            if home.server == MAIN:
                return self._engine(self._main, home)
            stamp = self._stamp(home.server)
            if stamp is not None:
                return self._engine(self._declared(home.server, stamp), home)
            self._forget(home.server)
            if is_stack_server(home.server) and not self._begun(home.server):
                return UnmadeServer(self._engine(self._main, Home("silo")))
        raise Unavailable("The database's server is not known here.", code="server_unknown")

    def close(self) -> None:
        """Close every connection that is not in use."""
        for engine in self._engines.values():
            engine.close()
        for _, server in self._servers.values():
            server.close()
        self._main.close()

    def _is_declared(self, name: str) -> Hashable | None:
        return name if name in self._others() else None

    def _engine(self, server: DatabaseServer, home: Home) -> DatabaseEngine:
        key = home.server, home.slot
        if key not in self._engines:
            self._engines[key] = server.slot(home.slot)
        return self._engines[key]

    def _declared(self, name: str, stamp: Hashable) -> DatabaseServer:
        known = self._servers.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        # Its logins are others now.
        self._forget(name)
        if self._opened is None:
            raise Unavailable("The database's server is not known here.", code="server_unknown")
        server = self._opened(name)
        self._servers[name] = stamp, server
        return server

    def _forget(self, name: str) -> None:
        """Let go of a server that is not declared any more, or anew; who uses it goes on to the end."""
        _, server = self._servers.pop(name, (None, None))
        for key in [one for one in self._engines if one[0] == name]:
            self._engines.pop(key).close()
        if server is not None:
            server.close()
