"""The facts of a change of all tenants' databases: how many, and what it would do to them. Not the files."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.approvable import Approvable


class FleetFacts(Approvable):
    """Kind ``fleet``. It is about every tenant, so ``member`` asks for all of them.

    What it weighs, from ``databases`` to ``changes_rows``, is known once a worker has planned it.
    """

    kind: ClassVar[str] = "fleet"

    exists: bool
    member: bool
    operation: str = "migrate"
    databases: int = 0
    migrations: int = 0
    contracts: int = 0
    non_transactional: int = 0
    changes_rows: bool = False
    failures_max: int = 0
