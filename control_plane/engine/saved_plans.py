"""The artifact of a run's plan: kept, found again, dropped. Not what is in it, and not the plan's digest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection

from control_plane.domain.canonical import instant
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.handlers.handler import Ports

ARTIFACT_TTL = timedelta(hours=24)


class SavedPlans:
    """A pure plan has no artifact, and its digest says so: its parts name none."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def keep(self, connection: Connection, run: Run, content: bytes) -> dict[str, str]:
        """Seal and keep what was observed; the plan's part, empty where there is nothing to keep."""
        if not content:
            return {}
        assert self._ports.artifacts is not None, "the worker keeps artifacts"
        expires = instant(self._ports.clock.now() + ARTIFACT_TTL)
        return {"artifact": self._ports.artifacts.put(connection, run.id, content, expires)}

    def require(self, run: Run) -> None:
        """Refused unless the run has the means that its plan names.

        Looked at before anything is consumed or done: a plan without its means is void.
        """
        parts = (run.plan or {}).get("parts")
        approved = parts.get("artifact") if isinstance(parts, Mapping) else None
        if approved is None and run.artifact is None:
            return
        if run.artifact is None or self._ports.artifacts is None:
            raise Refused("The plan artifact is gone.", code="artifact_missing")
        if run.artifact != approved:
            raise Refused("The plan artifact is another.", code="artifact_altered")
        self._ports.artifacts.get(run.artifact, instant(self._ports.clock.now()))

    def drop(self, connection: Connection, run: Run) -> None:
        """Forget it; nothing happens where there is nothing."""
        if run.artifact is not None and self._ports.artifacts is not None:
            self._ports.artifacts.drop(connection, run.artifact)
