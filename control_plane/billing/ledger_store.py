"""The ledger as it is kept: entries are added once, and every balance is summed from them. Not what an event moves.

A balance stands nowhere: it is the sum of the postings, read in the transaction that is given. So a
balance that an entry is made from must be read in the same `Store.write` of the tenant. The database
keeps rows as they were written and refuses an entry that does not balance (`store/ledger_rules.py`).

Entries are guarded rows of the audit log, and the digest covers their postings: who posts one names
`guard_of` it among the guards of its change's leaf. Else verification finds it `unwritten`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.exc import IntegrityError

from control_plane.billing.ledger import Account, Balances, Cause, Entry, Posting
from control_plane.domain.canonical import instant
from control_plane.domain.money import Money
from control_plane.errors import BadInput, Refused, Unavailable
from control_plane.store.ledger_tables import ledger_entry, ledger_posting

PAGE_MAX: Final = 1000

Place: TypeAlias = tuple[str, str]
"""Where an entry stands in a statement: its instant as text, and its id."""


class Page(NamedTuple):
    """Which part of a statement: at most ``size`` entries, those behind ``after``."""

    size: int = 100
    after: Place | None = None


FIRST_PAGE: Final = Page()


class Statement(NamedTuple):
    """Entries from the oldest on; ``after`` leads to the next page, None when this is the last."""

    entries: tuple[Entry, ...]
    after: Place | None


class Total(NamedTuple):
    """What one account holds in one currency over all tenants, in signed minor units."""

    account: Account
    currency: str
    amount_minor: int


# Made once: to build a statement costs more than to run it.
_SUM: Final[Any] = func.sum(ledger_posting.c.amount_minor)
_JOINED: Final = ledger_posting.join(ledger_entry)
_BALANCE: Final = (
    select(func.coalesce(_SUM, 0))
    .select_from(_JOINED)
    .where(
        ledger_entry.c.tenant == bindparam("tenant"),
        ledger_posting.c.account == bindparam("account"),
        ledger_posting.c.currency == bindparam("currency"),
    )
)
_SUMS: Final = (
    select(ledger_posting.c.account, ledger_posting.c.currency, _SUM.label("sum"))
    .select_from(_JOINED)
    .group_by(ledger_posting.c.account, ledger_posting.c.currency)
    .order_by(ledger_posting.c.account, ledger_posting.c.currency)
    .having(_SUM != 0)
)
_BALANCES: Final = _SUMS.where(ledger_entry.c.tenant == bindparam("tenant"))
_BALANCES_BEFORE: Final = _BALANCES.where(ledger_entry.c.occurred_at < bindparam("before"))
_ENTRY: Final = select(ledger_entry).where(ledger_entry.c.id == bindparam("id"))
_POSTINGS: Final = select(ledger_posting).where(
    ledger_posting.c.entry.in_(bindparam("ids", expanding=True))
)


def guard_of(entry: Entry) -> tuple[str, str]:
    """Which guarded row a leaf vouches for when its change posts this entry."""
    return ledger_entry.name, entry.id


def post(connection: Connection, entry: Entry) -> bool:
    """Add an entry; False when it stands already, which is no error: the same event, told again.

    The instant may then be another: the first one stands. Refused (`ledger_altered`) when the same
    event stands with other postings; `ledger_unbalanced` comes from `Entry` itself.
    """
    postings = [one.model_dump() | {"entry": entry.id} for one in entry.postings]
    try:
        with connection.begin_nested():
            # First, because the entry closes them.
            connection.execute(insert(ledger_posting), postings)
            connection.execute(insert(ledger_entry), _row(entry))
    except IntegrityError:
        # Another transaction may have come first only after this one began.
        standing = find(connection, entry.id)
        if standing is None:
            raise
        if standing.postings != entry.postings:
            raise Refused(
                "the event is posted already, with other amounts",
                code="ledger_altered",
                rule="ledger.append_only",
                fact="postings",
            ) from None
        return False
    return True


def find(connection: Connection, entry_id: str) -> Entry | None:
    """The entry of that id, or None. Raises Unavailable (`ledger_broken`)."""
    row = connection.execute(_ENTRY, {"id": entry_id}).first()
    return None if row is None else _entries(connection, [row])[0]


def balance(connection: Connection, tenant: str, account: Account, currency: str) -> Money:
    """What a tenant's account holds in one currency: debits positive, credits negative."""
    given = {"tenant": tenant, "account": account, "currency": currency}
    minor = connection.execute(_BALANCE, given).scalar_one()
    return Money(minor=int(minor), currency=currency)


def balances(connection: Connection, tenant: str, before: datetime | None = None) -> Balances:
    """Every balance of a tenant that is not zero, from all entries or those before an instant."""
    if before is None:
        found = connection.execute(_BALANCES, {"tenant": tenant})
    else:
        found = connection.execute(_BALANCES_BEFORE, {"tenant": tenant, "before": instant(before)})
    return {(row.account, row.currency): int(row.sum) for row in found}


def trial_balance(connection: Connection) -> list[Total]:
    """Every account over all tenants, where it is not zero; in each currency they sum to zero."""
    found = connection.execute(_SUMS)
    return [Total(row.account, row.currency, int(row.sum)) for row in found]


def statement(
    connection: Connection, tenant: str, since: datetime, until: datetime, page: Page = FIRST_PAGE
) -> Statement:
    """A tenant's entries from ``since`` to before ``until``, oldest first.

    BadInput for a page of no entry or of more than 1,000. Raises Unavailable (`ledger_broken`).
    """
    if not 1 <= page.size <= PAGE_MAX:
        raise BadInput("size", f"must lie between 1 and {PAGE_MAX}")
    at, key = ledger_entry.c.occurred_at, ledger_entry.c.id
    wanted = (
        select(ledger_entry)
        .where(ledger_entry.c.tenant == tenant, at >= instant(since), at < instant(until))
        .order_by(at, key)
        .limit(page.size + 1)
    )
    if page.after is not None:
        wanted = wanted.where(tuple_(at, key) > tuple_(*page.after))
    rows = connection.execute(wanted).all()
    shown = rows[: page.size]
    more = len(rows) > page.size
    return Statement(
        tuple(_entries(connection, shown)),
        (shown[-1].occurred_at, shown[-1].id) if more else None,
    )


def _row(entry: Entry) -> dict[str, str]:
    return {
        "id": entry.id,
        "tenant": entry.tenant,
        "occurred_at": instant(entry.occurred_at),
        "cause_kind": entry.cause.kind,
        "cause_reference": entry.cause.reference,
    }


def _entries(connection: Connection, rows: Sequence[Row[Any]]) -> list[Entry]:
    postings: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for one in connection.execute(_POSTINGS, {"ids": list(postings)}):
        postings[one.entry].append(one)
    return [_entry(row, postings[row.id]) for row in rows]


def _entry(row: Row[Any], postings: Sequence[Row[Any]]) -> Entry:
    try:
        entry = Entry(
            tenant=row.tenant,
            occurred_at=datetime.fromisoformat(row.occurred_at),
            cause=Cause(kind=row.cause_kind, reference=row.cause_reference),
            postings=tuple(
                Posting(account=one.account, amount_minor=one.amount_minor, currency=one.currency)
                for one in postings
            ),
        )
    except (ValueError, Refused):
        raise _broken() from None
    if entry.id != row.id:
        raise _broken()
    return entry


def _broken() -> Unavailable:
    return Unavailable("An entry of the ledger is not as it was posted.", code="ledger_broken")
