"""The facts of a catalog that is to be put in force, and what that would change. Not the catalog's files."""

from __future__ import annotations

from typing import ClassVar

from control_plane.facts.approvable import Approvable


class CatalogFacts(Approvable):
    """Kind ``catalog``. A workspace has one in force, so ``member`` asks for every tenant.

    What the change weighs, from ``moves`` to ``voided``, is known once a worker has compared the
    catalog with the one in force; before that it is 0 or false.
    """

    kind: ClassVar[str] = "catalog"

    exists: bool
    member: bool
    operation: str = "apply"
    moves: int = 0
    refused_moves: int = 0
    loses_data: bool = False
    policies_changed: bool = False
    rights_changed: int = 0
    plans_dropped: int = 0
    voided: int = 0
