"""The house itself as a caller: what the worker asks for because of money and dates. Not a grant, and no right."""

from __future__ import annotations

import unicodedata
from typing import Final

from control_plane.domain.caller import EVERY_TENANT, HOUSE_ROLE, Caller
from control_plane.domain.record import Record

_PREFIX: Final = "house:"
_NAME: Final = f"{_PREFIX}billing"

BILLING_HOUSE: Final = Caller(
    principal=_NAME,
    actor=_NAME,
    actor_kind="house",
    roles=(HOUSE_ROLE,),
    tenants=(EVERY_TENANT,),
    grant_id=_NAME,
)
"""Stands in no table: no row of a grant makes it, so no token can name one that does."""


def is_house(name: str) -> bool:
    """Whether a principal or an actor is the house, or is spelt like it: nobody else may be."""
    return unicodedata.normalize("NFKC", name).strip().casefold().startswith(_PREFIX)


class Cause(Record):
    """Why the house asks: a word for lists, and a sentence for who reads the run."""

    reason: str
    told: str
