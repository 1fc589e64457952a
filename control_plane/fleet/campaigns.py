"""Campaigns and their receipts in our own store: read, written, counted. Not what carries a campaign out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from control_plane.domain.campaign import BEGUN, CAMPAIGN, OPEN, Campaign, FleetReceipt
from control_plane.domain.canonical import Json
from control_plane.errors import Refused
from control_plane.ports import Recorder
from control_plane.store import rows
from control_plane.store.database_tables import fleet_migration, fleet_receipt

Member = tuple[str, str]
"""A tenant, and which of its databases."""

_CAMPAIGNS_MAX: Final = 500
_CHUNK: Final = 200


def campaign_row(connection: Connection, campaign_id: str) -> Campaign | None:
    """The campaign of that id, or None."""
    return rows.by(connection, fleet_migration.c.id, Campaign, campaign_id)


def newest(connection: Connection) -> Campaign | None:
    """The one that is not over, else the one that was begun last, or None."""
    known = open_campaign(connection)
    if known is not None:
        return known
    table = fleet_migration
    found = rows.every(
        connection, table, Campaign, table.c.id != "", order_by=table.c.created_at.desc(), limit=1
    )
    return found[0] if found else None


def open_campaign(connection: Connection) -> Campaign | None:
    """The one that is not over; there is at most one."""
    table = fleet_migration
    wanted = table.c.state.in_(sorted(OPEN))
    every = rows.every(connection, table, Campaign, wanted, limit=_CAMPAIGNS_MAX)
    return next((one for one in every if one.standing in OPEN), None)


def campaign_of_run(connection: Connection, run_id: str) -> Campaign | None:
    """The one that the run carries, or carried last."""
    return rows.by(connection, fleet_migration.c.run_id, Campaign, run_id)


def begun(connection: Connection) -> list[Campaign]:
    """Every one whose migrations are in force: it was begun, and not aborted."""
    table = fleet_migration
    wanted = table.c.state.in_(sorted(BEGUN))
    every = rows.every(connection, table, Campaign, wanted, limit=_CAMPAIGNS_MAX)
    return [one for one in every if one.standing in BEGUN]


def in_force(connection: Connection) -> int:
    """The last migration that every tenant has, or is about to have; 0 where none was begun."""
    return max((one.last for one in begun(connection)), default=0)


def finished(connection: Connection) -> int:
    """The last migration that every tenant had when its campaign came to its end."""
    table = fleet_migration
    found = select(func.max(table.c.last)).where(table.c.state == "done")
    return int(connection.execute(found).scalar() or 0)


def put_campaign(connection: Connection, campaign: Campaign) -> None:
    """Write a new one."""
    rows.put(connection, fleet_migration, campaign)


def move_campaign(
    connection: Connection,
    recorder: Recorder,
    moved: Campaign,
    event: str,
    now: str,
    **values: object,
) -> Campaign:
    """Fire one event of the machine, with a leaf; the campaign as it then is.

    Refused where it is not legal, and (`fleet_migration_moved`) where the row is no longer the one
    in hand.
    """
    state = CAMPAIGN.next(moved.state, event)
    table = fleet_migration
    mine = (table.c.id == moved.id) & (table.c.version == moved.version)
    said = {"state": state, "changed_at": now, "version": moved.version + 1, **values}
    if rows.change(connection, table, mine, **said) != 1:
        raise Refused("The campaign has moved on.", code="fleet_migration_moved", fact="state")
    found = campaign_row(connection, moved.id)
    assert found is not None, "campaigns are never deleted"
    told: dict[str, Json] = {
        "campaign": found.id,
        "first": found.first,
        "last": found.last,
        "run_id": found.run_id,
        "reason": found.reason,
        "asked_by": found.asked_by,
    }
    recorder.record(connection, f"fleet.{state}", "", told)
    return found


# Receipts --------------------------------------------------------------------------------------


def receipts_of(connection: Connection, tenant: str) -> list[FleetReceipt]:
    """Every receipt of one tenant, in order."""
    table = fleet_receipt
    order = table.c.number
    return rows.every(connection, table, FleetReceipt, table.c.tenant == tenant, order_by=order)


def standing_members(connection: Connection, number: int) -> set[Member]:
    """Who has the migration of that number; one that has a later one has it too."""
    table = fleet_receipt
    found = select(table.c.tenant, table.c.place).where(
        table.c.number == number, table.c.state == "done"
    )
    return {(row.tenant, row.place) for row in connection.execute(found)}


def failed_members(connection: Connection, campaign_id: str) -> set[Member]:
    """Whom the campaign has failed for, and has not been repeated for."""
    table = fleet_receipt
    mine = (table.c.campaign == campaign_id) & (table.c.state == "failed")
    found = select(table.c.tenant, table.c.place).where(mine).distinct()
    return {(row.tenant, row.place) for row in connection.execute(found)}


def failures(connection: Connection, campaign_id: str, limit: int) -> list[FleetReceipt]:
    """The first of those, with their codes."""
    table = fleet_receipt
    mine = (table.c.campaign == campaign_id) & (table.c.state == "failed")
    return rows.every(connection, table, FleetReceipt, mine, order_by=table.c.tenant, limit=limit)


def counts(connection: Connection, campaign_id: str) -> Mapping[str, int]:
    """How many databases have which state of receipt for the last migration, or have failed."""
    table = fleet_receipt
    mine = table.c.campaign == campaign_id
    found = select(table.c.state, func.count()).where(mine).group_by(table.c.state)
    return {str(state): int(count) for state, count in connection.execute(found)}


def intend(connection: Connection, receipts: Iterable[FleetReceipt]) -> None:
    """Write down what is to be done, where nothing is written of it yet."""
    wanted = {(one.tenant, one.place, one.number): one for one in receipts}
    table = fleet_receipt
    keys = list(wanted)
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        names = sorted({tenant for tenant, _, _ in part})
        known = connection.execute(
            select(table.c.tenant, table.c.place, table.c.number).where(table.c.tenant.in_(names))
        )
        there = {(row.tenant, row.place, row.number) for row in known}
        new = [wanted[key].model_dump(mode="json") for key in part if key not in there]
        if new:
            connection.execute(insert(table), new)


def settle(connection: Connection, receipts: Sequence[FleetReceipt]) -> None:
    """Write what has come of it; a receipt that says `done` is not written over."""
    table = fleet_receipt
    for one in receipts:
        mine = (
            (table.c.tenant == one.tenant)
            & (table.c.place == one.place)
            & (table.c.number == one.number)
        )
        said = one.model_dump(mode="json")
        counted = {**said, "attempts": table.c.attempts + one.attempts}
        changed = connection.execute(
            update(table).where(mine, table.c.state != "done").values(**counted)
        )
        if not changed.rowcount:
            known = connection.execute(select(table.c.state).where(mine)).first()
            if known is None:
                connection.execute(insert(table), said)


def retry_failed(connection: Connection, campaign_id: str) -> None:
    """Let what has failed be tried again."""
    table = fleet_receipt
    mine = (table.c.campaign == campaign_id) & (table.c.state == "failed")
    fresh = {"state": "pending", "code": "", "detail": ""}
    connection.execute(update(table).where(mine).values(**fresh))


def forget_pending(connection: Connection, campaign_id: str) -> None:
    """Keep no intent of who turned out to have no database."""
    table = fleet_receipt
    mine = (table.c.campaign == campaign_id) & (table.c.state == "pending")
    connection.execute(delete(table).where(mine))


def forget_place(connection: Connection, tenant: str, place: str) -> None:
    """Keep no receipt of a database that is made anew: it tells by itself what it has."""
    table = fleet_receipt
    mine = (table.c.tenant == tenant) & (table.c.place == place)
    connection.execute(delete(table).where(mine))
