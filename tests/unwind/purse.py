"""What stands of a tenant's money after a kill: terms, invoices, attempts, what the sandbox really took. Not what should."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from control_plane.billing import ledger_store
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.invoice import Invoice
from control_plane.domain.payment import IN_FLIGHT, PaymentAttempt
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.store import billing_tables, rows

if TYPE_CHECKING:
    from tests.unwind.site import Site


@dataclass(frozen=True)
class Purse:
    """All that there is of a tenant's money, in minor units.

    `charged` is what the sandbox really took, `attempts` how each ended, both by their invoices.
    """

    plan: str
    tenant_plan: str
    state: str
    ending: bool
    method: str
    invoices: tuple[Invoice, ...]
    attempts: tuple[str, ...]
    charged: tuple[int, ...]
    due_minor: int
    credit_minor: int

    @property
    def invoiced(self) -> tuple[str, ...]:
        """How each invoice stands, but for one that waits for late usage."""
        return tuple(one.state for one in self.invoices if one.state != "draft")


NOTHING = Purse(
    "",
    "",
    "",
    ending=False,
    method="",
    invoices=(),
    attempts=(),
    charged=(),
    due_minor=0,
    credit_minor=0,
)
"""Of a tenant that is not there yet."""


def purse_of(site: Site, tenant: str) -> Purse:
    """Look at it. AssertionError where the books are not what the sandbox and the ledger say."""
    table = billing_tables.invoice
    with site.store.read() as connection:
        held, row = subscription_row(connection, tenant), tenant_row(connection, tenant)
        assert held is not None
        assert row is not None
        found = rows.every(connection, table, Invoice, table.c.tenant == tenant)
        tried = billing_tables.payment_attempt
        attempts = rows.every(connection, tried, PaymentAttempt, tried.c.tenant == tenant)
        balances = ledger_store.balances(connection, tenant)
    invoices = sorted(found, key=lambda one: (one.number or "~", one.id))
    place = {one.id: number for number, one in enumerate(invoices)}
    attempts.sort(key=lambda one: (place[one.invoice], one.number))
    charged, refunded_minor = _taken(site, invoices, attempts)
    assert sum(balances.values()) == 0
    assert balances.get(("cash_clearing", "EUR"), 0) == sum(charged) - refunded_minor
    return Purse(
        plan=held.plan,
        tenant_plan=row.plan,
        state=held.state,
        ending=held.cancel_at_period_end,
        method="" if held.method is None else held.method.reference,
        invoices=tuple(invoices),
        attempts=tuple(one.state for one in attempts),
        charged=charged,
        due_minor=sum(one.due_minor for one in invoices if one.state == "open"),
        credit_minor=-balances.get(("credit_balance", "EUR"), 0),
    )


def _taken(
    site: Site, invoices: Sequence[Invoice], attempts: Sequence[PaymentAttempt]
) -> tuple[tuple[int, ...], int]:
    """What the sandbox took, each amount by an attempt of its own; and what it gave back of that."""
    with closing(SandboxProvider(site.house.workspace.sandbox_db)) as sandbox:
        charged = {one.id: [money.minor for money in sandbox.charged(one.id)] for one in invoices}
        refunded_minor = sum(sandbox.refunded(one.id) for one in attempts)
    for invoice in invoices:
        mine = [one for one in attempts if one.invoice == invoice.id]
        booked = [one.amount_minor for one in mine if one.state == "succeeded"]
        assert len(charged[invoice.id]) <= 1, "an invoice was charged twice"
        # While an attempt is in flight nobody has written down what was taken.
        if not any(one.state in IN_FLIGHT for one in mine):
            assert charged[invoice.id] == booked
    return tuple(minor for one in invoices for minor in charged[one.id]), refunded_minor


def assert_store_balanced(site: Site) -> None:
    """Over all tenants: the ledger sums to zero, and no number of an invoice was lost."""
    table = billing_tables.invoice
    numbered = select(table.c.number).where(table.c.number.is_not(None))
    with site.store.read() as connection:
        totals = ledger_store.trial_balance(connection)
        numbers = sorted(connection.execute(numbered).scalars())
    assert sum(one.amount_minor for one in totals) == 0
    assert numbers == [f"INV-{number:06d}" for number in range(1, len(numbers) + 1)]


def is_quiet(site: Site, tenant: str, ahead: timedelta = timedelta()) -> bool:
    """Whether nobody waits for a provider, and nothing is due by a clock that stands `ahead` of ours."""
    tried, account = billing_tables.payment_attempt, billing_tables.billing_account
    mine = select(tried.c.id).where(tried.c.tenant == tenant, tried.c.state.in_(sorted(IN_FLIGHT)))
    due = select(account.c.next_due_at).where(account.c.tenant == tenant)
    with site.store.read() as connection:
        if connection.execute(mine).first() is not None:
            return False
        due_at = connection.execute(due).scalar()
    return due_at is None or datetime.fromisoformat(due_at) > datetime.now(UTC) + ahead
