"""Replays recorded calls of one workspace, each under the policies and the catalog of its day. Changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from control_plane.errors import Failed, PaybillError
from control_plane.handlers.handler import Ports
from control_plane.handlers.registry import CHANGES, LIFECYCLES
from graphs.replay import Recorded, Replay, Replayed, recorded
from policies.bundle import Bundle, load_bundle
from policies.errors import GateError
from policies.gate import Gate
from server import catalog
from server.auditing import Entry
from server.private_engine import engine_program, private_gate
from server.settings import Settings
from server.workspace import Workspace

# Each bundle is an engine of its own while the replay runs.
BUNDLES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One leaf's replay. `said` is None where it could not be replayed; `why` then says the code."""

    entry: Entry
    said: Replayed | None
    why: str = ""


class Replaying:
    """Needs opened entries, and so the worker's key; holds one policy engine a bundle."""

    def __init__(
        self, workspace: Workspace, settings: Settings, ports: Ports, engines: ExitStack
    ) -> None:
        self._workspace = workspace
        self._settings = settings
        self._ports = ports
        self._engines = engines
        self._gates: dict[str, Gate] = {}
        self._replay = Replay(self._gate, self._dated_ports, CHANGES, LIFECYCLES)

    def lines(self, entries: Iterable[Entry]) -> Generator[Line]:
        """Replay what holds a decision; what holds none is left out."""
        for entry in entries:
            try:
                record = self._record(entry)
                if record is not None:
                    yield Line(entry, self._replay.again(record))
            except PaybillError as error:
                yield Line(entry, None, error.code)

    def _record(self, entry: Entry) -> Recorded | None:
        if entry.payload is None:
            raise Failed("The payload cannot be opened.", code=entry.closed or "payload_closed")
        return recorded(entry.payload, entry.leaf.tenant)

    def _dated_ports(self, digest: str) -> Ports:
        return replace(self._ports, catalog=catalog.load_kept(self._workspace.catalogs, digest))

    def _gate(self, version: str) -> Gate:
        known = self._gates.get(version)
        if known is None:
            if len(self._gates) >= BUNDLES_MAX:
                raise Failed("Too many policy bundles for one replay.", code="too_many_bundles")
            known = self._engines.enter_context(self._engine(self._bundle(version)))
            self._gates[version] = known
        return known

    def _bundle(self, version: str) -> Bundle:
        try:
            return load_bundle(self._workspace.bundles, version)
        except GateError as error:
            raise Failed("The bundle is gone, or was altered.", code=error.code) from error

    @contextmanager
    def _engine(self, bundle: Bundle) -> Generator[Gate]:
        try:
            with private_gate(engine_program(self._settings), bundle) as gate:
                yield gate
        except GateError as error:
            raise Failed("The policy engine does not start.", code=error.code) from error


@contextmanager
def replaying(workspace: Workspace, settings: Settings, ports: Ports) -> Generator[Replaying]:
    """A replay, and the engines that it starts; all are stopped at the end."""
    with ExitStack() as engines:
        yield Replaying(workspace, settings, ports, engines)


def about(entries: Iterable[Entry], wanted: str) -> list[Entry]:
    """The entries of one leaf, call or run, by its id."""
    found: list[Entry] = []
    for entry in entries:
        named = {entry.leaf.id}
        if entry.payload is not None:
            named |= {str(entry.payload.get("call_id")), str(entry.payload.get("run_id"))}
        if wanted in named:
            found.append(entry)
    return found
