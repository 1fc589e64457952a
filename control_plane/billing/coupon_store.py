"""Redemptions out of the store and back, and the count that keeps a coupon within its maximum. Not the rules of coupons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from control_plane.billing.book import Book
from control_plane.domain.canonical import plain
from control_plane.domain.coupon import Coupon
from control_plane.domain.redemption import Redemption
from control_plane.errors import Refused
from control_plane.store import rows
from control_plane.store.coupon_tables import coupon_tally, redemption

# Made once: to build a statement costs more than to run it.
_OF_TENANT: Final = select(redemption).where(redemption.c.tenant == bindparam("tenant"))
_REDEEMED: Final = select(coupon_tally.c.redeemed).where(coupon_tally.c.code == bindparam("code"))


def redemptions(connection: Connection, tenant: str) -> dict[str, Redemption]:
    """Every coupon that the tenant has redeemed, those that are over too, by their codes."""
    found = connection.execute(_OF_TENANT, {"tenant": tenant}).mappings()
    return {one.code: one for one in (rows.parse(Redemption, dict(row)) for row in found)}


def redeemed(connection: Connection, code: str) -> int:
    """How often a coupon is redeemed, over all tenants."""
    return connection.execute(_REDEEMED, {"code": code}).scalar() or 0


def moved(book: Book) -> tuple[str, ...]:
    """The ids of the redemptions that the book adds, changes or gives back."""
    before, after = book.redemptions_before, book.redemptions
    codes = sorted(before.keys() | after.keys())
    return tuple(
        (after.get(code) or before[code]).id
        for code in codes
        if before.get(code) != after.get(code)
    )


def save(connection: Connection, book: Book) -> None:
    """Write what moved; each new one takes its place among those that there may be.

    Refused (`coupon_used_up`) where another tenant took the last one since it was quoted.
    """
    before, after = book.redemptions_before, book.redemptions
    # In one order, since a count stays locked to the end of the transaction.
    for code in sorted(before.keys() | after.keys()):
        _save(connection, code, before.get(code), after.get(code))
    book.redemptions_before = dict(after)


def _save(
    connection: Connection, code: str, before: Redemption | None, after: Redemption | None
) -> None:
    if before is None and after is not None:
        _take(connection, after.coupon)
        connection.execute(insert(redemption), _values(after))
    elif before is not None and after is None:
        connection.execute(delete(redemption).where(redemption.c.id == before.id))
        fewer = coupon_tally.c.redeemed - 1
        rows.change(connection, coupon_tally, coupon_tally.c.code == code, redeemed=fewer)
    elif before is not None and after is not None and before != after:
        rows.change(connection, redemption, redemption.c.id == after.id, **_values(after))


def _values(one: Redemption) -> Mapping[str, Any]:
    told = plain(one)
    assert isinstance(told, dict), "a record is told as an object"
    return told


def _take(connection: Connection, coupon: Coupon) -> None:
    """Count one more, by the statement that looks whether there may be one: others wait for it."""
    if _one_more(connection, coupon):
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(coupon_tally).values(code=coupon.code, redeemed=1))
    except IntegrityError:
        # It is there: another tenant's first one came in between, or there may be no more.
        if not _one_more(connection, coupon):
            raise Refused(
                "The coupon was redeemed as often as it may be.",
                code="coupon_used_up",
                rule="coupon.redeem",
                fact="redemptions_max",
            ) from None


def _one_more(connection: Connection, coupon: Coupon) -> bool:
    where = coupon_tally.c.code == coupon.code
    if coupon.redemptions_max is not None:
        where &= coupon_tally.c.redeemed < coupon.redemptions_max
    more = coupon_tally.c.redeemed + 1
    return rows.change(connection, coupon_tally, where, redeemed=more) == 1
