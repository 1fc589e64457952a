"""Quantities and checks as an answer tells them: decimals and instants as text. Decides nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from control_plane.billing.entitlements import Check
from control_plane.domain.canonical import Json, instant


def quantity_told(quantity: Decimal | None) -> str | None:
    """A quantity in plain digits, never in powers of ten, and without zeros at its end."""
    if quantity is None:
        return None
    text = format(quantity, "f")
    return text.rstrip("0").removesuffix(".") if "." in text else text


def check_told(found: Check) -> dict[str, Json]:
    """What a check came to, but for what would lift it."""
    return {
        "status": found.status,
        "code": found.code or None,
        "remaining": quantity_told(found.remaining),
        "grace_ends_at": _instant_told(found.grace_ends_at),
    }


def lifted_told(found: Check) -> dict[str, Json]:
    """After what it would be allowed, each of which is enough, and when the next period begins."""
    return {"lifted_by": [*found.lifted_by], "resets_at": _instant_told(found.resets_at)}


def _instant_told(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)
