"""Where a tenant's database stands: on which server, in which model, in which of its places there. Not the database."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple, TypeAlias

from annotated_types import Ge, Le
from pydantic import StringConstraints

from control_plane.domain.isolation import Isolation

MAIN: Final = "main"
"""The workspace's own server: its Postgres, or its folder of SQLite files."""
SLOTS: Final = range(10)
"""A tenant may have as many places of one model on one server; names have room for one digit."""

ServerName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,38}$")]
Slot: TypeAlias = Annotated[int, Ge(SLOTS.start), Le(SLOTS.stop - 1)]


class Home(NamedTuple):
    """A place for one tenant's database; whether anything stands there it does not say."""

    isolation: Isolation
    server: str = MAIN
    slot: int = 0
