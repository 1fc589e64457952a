"""The command `simulate`: what time would do to a subscription, as tables and as a picture. Not the forecast itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

_COLUMNS_MAX = 56
_WEEK = timedelta(weeks=1)


class Payments(StrEnum):
    """How every payment ends."""

    SUCCEED = "succeed"
    FAIL = "fail"


def simulate(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option(help="The tenant's id.")],
    months: Annotated[int, typer.Option(min=1, max=36, help="How many months from now on.")] = 12,
    payments: Annotated[
        Payments, typer.Option(help="How every payment ends: succeed or fail.")
    ] = Payments.SUCCEED,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the picture into this new file, as SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The forecast as JSON.")] = False,
) -> None:
    """Show what time would do to a tenant's subscription, on a copy; nothing is changed."""
    told = _told(Context.of(ctx), tenant, months, payments)
    if svg is not None:
        _draw(svg, told)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    table(
        f"Timeline of {plain(tenant)}",
        ("at", "what", "amount", "detail"),
        [_happening(one) for one in told["timeline"]],
    )
    table(
        "Invoices",
        ("number", "at", "total", "due", "state"),
        [_invoice(one) for one in told["invoices"]],
    )
    for line in chart(told):
        typer.echo(plain(line))
    _say(told)


def chart(told: Mapping[str, Any]) -> list[str]:
    """States and gates over time in letters: a row for each, a column for so many whole weeks."""
    since, until = (datetime.fromisoformat(told[name]) for name in ("since", "until"))
    weeks = max(1, -(-(until - since) // _WEEK))
    each = -(-weeks // _COLUMNS_MAX)
    columns = [since + n * each * _WEEK for n in range(-(-weeks // each))]
    size = "1 week" if each == 1 else f"{each} weeks"
    lines = [f"A column is {size}, from {since:%Y-%m-%d} to {until:%Y-%m-%d}."]
    for name, key in (("state", "states"), ("level", "gates")):
        found = dict.fromkeys(str(one[name]) for one in told[key])
        lines += [f"{row:>18} {_row(told[key], name, row, columns)}" for row in found]
    return lines


def _row(
    told: Sequence[Mapping[str, str]], name: str, row: str, columns: Sequence[datetime]
) -> str:
    spans = [
        (datetime.fromisoformat(one["since"]), datetime.fromisoformat(one["until"]))
        for one in told
        if one[name] == row
    ]
    ends = [*columns[1:], datetime.max.replace(tzinfo=columns[0].tzinfo)]
    # What held for a part of a column is in it: a week of read-only must not be lost.
    held = (
        any(start < last and first < end for start, end in spans)
        for first, last in zip(columns, ends, strict=True)
    )
    return "".join("█" if one else "·" for one in held)


def _told(context: Context, tenant: str, months: int, payments: Payments) -> dict[str, Any]:
    # `--help` must be fast
    from control_plane.handlers.forecasts import forecast, told
    from control_plane.subscription_commands import SimulateSubscription
    from server.catalog import load_applied
    from server.clock import SystemClock

    asked = SimulateSubscription(tenant=tenant, months=months, payments=payments.value)
    with context.store() as store, store.read() as connection:
        catalog = load_applied(connection, context.workspace.catalogs)
        return told(forecast(connection, catalog, asked, SystemClock().now()))


def _draw(file: Path, told: Mapping[str, Any]) -> None:
    from control_plane.errors import BadInput
    from server.forecast_picture import svg
    from server.private_files import write_new_file

    try:
        write_new_file(file, svg(told).encode())
    except OSError as error:
        raise BadInput("--svg", f"must be a new file ({error.strerror})") from None
    note(f"drawn into {file}")


def _happening(one: Mapping[str, Any]) -> tuple[str, ...]:
    amount = _amount(one["amount_minor"], one["currency"])
    return one["at"][:16].replace("T", " "), one["kind"], amount, one["detail"] or ""


def _invoice(one: Mapping[str, Any]) -> tuple[str, ...]:
    total, due = (_amount(one[name], one["currency"]) for name in ("total_minor", "due_minor"))
    at = "" if one["at"] is None else one["at"][:10]
    return one["number"] or "(draft)", at, total, due, one["state"]


def _amount(minor: int | None, currency: str | None) -> str:
    from control_plane.billing.amounts import money_text
    from control_plane.domain.money import Money

    if minor is None or currency is None:
        return ""
    return money_text(Money(minor=minor, currency=currency))


def _say(told: Mapping[str, Any]) -> None:
    if told["cut"]:
        note(f"Of {told['timeline_count']} happenings the first are shown.")
    if told["usage_of"] is None:
        note("No period is whole yet: no usage is assumed for those to come.")
    else:
        note(f"Usage to come is that of the period from {told['usage_of'][:10]}.")
