"""Who has a place on a server, by the names of what stands there and what it says: for when our own rows are lost. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from control_plane.data.tables import FENCE
from control_plane.domain.isolation import Isolation

Standing = tuple[str, Isolation]
ANY: Final = "any-tenant"
"""A tenant's id, to ask what names and shared places are called."""

_TENANT: Final = r"(?P<tenant>[a-z][a-z0-9-]{1,38}[a-z0-9])"


def by_files(root: Path, slot: int) -> Iterator[Standing]:
    """Of the files that SQLite tenants have to themselves, in the places of one slot."""
    named = re.compile(_TENANT + (rf"\.{slot}" if slot else "") + r"\.db")
    models: tuple[Isolation, ...] = ("silo", "bridge")
    for model in models:
        for path in sorted((root / model).glob("*.db")):
            if (found := named.fullmatch(path.name)) is not None:
                yield found["tenant"], model


def by_names(names: Iterable[str], before: str, model: Isolation) -> Iterator[Standing]:
    """Of names that begin so, and go on with a tenant's."""
    for name in sorted(names):
        found = re.fullmatch(re.escape(before) + _TENANT, name)
        if found is not None:
            yield found["tenant"], model


def before_tenant(named: str) -> str:
    """What a name begins with, of the place of `ANY`."""
    return named.removesuffix(ANY)


def by_fence(connection: Connection) -> Iterator[Standing]:
    """Of who is in a place that several share."""
    for tenant in connection.execute(select(FENCE.c.tenant_id).order_by(FENCE.c.tenant_id)):
        yield str(tenant[0]), "pooled"
