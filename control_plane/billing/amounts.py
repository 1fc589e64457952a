"""Amounts, quantities and days as a reader sees them. Not money itself, and in no language but English.

A comma parts thousands, a point the minor unit: `1,234.50`, with as many places as the currency has.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Final

from control_plane.billing.calendar import local_day, zone_info
from control_plane.domain.money import Money, exponent

MINUS: Final = "\N{MINUS SIGN}"
_EXACT = Context(prec=100)
_ADJUSTED_MAX = 40  # beyond it, digits would fill the page
_TICK = timedelta(microseconds=1)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def amount_text(money: Money) -> str:
    """`1,234.50`, `1,235` (JPY), `1,234.500` (BHD); below zero with a minus sign."""
    places = exponent(money.currency)
    whole, part = divmod(abs(money.minor), 10**places)
    digits = f"{whole:,}.{part:0{places}}" if places else f"{whole:,}"
    return f"{MINUS}{digits}" if money.minor < 0 else digits


def money_text(money: Money) -> str:
    """`EUR 1,234.50`; below zero with a minus sign before the digits."""
    return f"{money.currency} {amount_text(money)}"


def unit_price_text(minor: Decimal, currency: str) -> str:
    """A price in minor units, in major ones: the currency's places, and more where it has more."""
    places = exponent(currency)
    text = quantity_text(_EXACT.scaleb(minor, -places))
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(places, '0')}" if places or part else whole


def quantity_text(quantity: Decimal) -> str:
    """`1,200`, `0.5`: every place that says something, and no other."""
    if abs(quantity.adjusted()) > _ADJUSTED_MAX:
        return str(quantity)
    text = format(abs(quantity), "f")
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    digits = f"{int(whole):,}.{part}" if part else f"{int(whole):,}"
    return f"{MINUS}{digits}" if quantity < 0 else digits


def day_text(instant: datetime, zone: str) -> str:
    """`1 May 2026`: the day of the aware instant in the zone (IANA)."""
    day = local_day(instant, zone)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def instant_text(instant: datetime, zone: str) -> str:
    """`1 May 2026, 14:30`: minutes of the aware instant in the zone (IANA)."""
    return f"{day_text(instant, zone)}, {instant.astimezone(zone_info(zone)):%H:%M}"


def span_text(start: datetime, end: datetime, zone: str) -> str:
    """`1 May 2026 to 31 May 2026`: from the first day to the last of a half-open period."""
    first, last = day_text(start, zone), day_text(max(start, end - _TICK), zone)
    return first if first == last else f"{first} to {last}"
