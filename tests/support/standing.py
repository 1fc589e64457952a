"""A generation that stays: for a front over parts of a test's own. Follows no worker."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.handlers.catalog_in_force import CatalogMoved
from server.generations import Generation


@dataclass(frozen=True)
class Standing:
    """The same one for every call."""

    generation: Generation

    def current(self) -> Generation:
        """It."""
        return self.generation

    def after(self, left: Generation) -> Generation:
        """There is no other."""
        raise CatalogMoved
