"""A bench whose tenant may buy plans with prices, and a sandbox that collects. Not a worker, and holds no test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from control_plane.billing import book_store
from control_plane.billing.book import Book
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.domain.canonical import instant
from control_plane.domain.invoice import Invoice
from control_plane.domain.plans import parse_plans
from control_plane.domain.run_record import Run
from control_plane.engine.billing_clock import BillingClock
from control_plane.engine.failpoints import Failpoints
from control_plane.store import rows, tables
from control_plane.store.billing_tables import invoice
from graphs.gatekeeper import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.elsewhere import on_postgres
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench
from tests.support.postgres import Postgres

PLANS = Path(__file__).parent / "priced_catalog" / "plans.yaml"
BILLING, VIEWER = "bill", "vic"


@dataclass(frozen=True)
class PayingBench(Bench):
    """A tenant on a free plan, people of every kind that may ask about its money, and the sandbox."""

    sandbox: SandboxProvider

    def pays_with(self, method: str, who: str = REQUESTER) -> None:
        """Set the sandbox's method of that name."""
        self.do("payment_method_set", who, provider="sandbox", reference=method)

    def on(self, plan: str, **wanted: Any) -> None:
        """Bring the tenant onto a plan, paid by a method that never fails."""
        self.pays_with("sandbox_ok")
        self.do("subscription_change", plan=plan, currency="EUR", **wanted)

    def preview(self, plan: str, who: str = VIEWER, **wanted: Any) -> dict[str, Any]:
        """What a change would come to."""
        told = self.ask("subscription_preview_change", who, tenant=TENANT, plan=plan, **wanted)
        assert told["outcome"] == "done", told
        result: dict[str, Any] = told["result"]
        return result

    def later(self, **by: float) -> None:
        """Turn the clock, and let billing do what has fallen due."""
        self.world.clock.advance(timedelta(**by))
        # Months go by here; that a grant ends in between is another test's matter.
        ends = instant(self.world.clock.now() + timedelta(days=30))
        self.world.alter(tables.grant, tables.grant.c.id != "", expires_at=ends)
        self.tick()

    def tick(self) -> None:
        """Let the billing clock look at the tenant once."""
        BillingClock(self.world.ports, Failpoints()).look(TENANT)

    @property
    def month(self) -> timedelta:
        """How long the first period is: from 1 January."""
        return timedelta(days=31)

    def at(self, **later: float) -> str:
        """An instant so much later than now, as text."""
        return instant(self.world.clock.now() + timedelta(**later))

    def parked(self, tool: str, who: str = BILLING, **asked: Any) -> Run:
        """Ask for what a human is asked; the run, which waits."""
        run = self.work(self.propose(tool, who, **asked))
        assert run.state == "awaiting_approval", run
        return run

    def approved(self, run: Run) -> Run:
        """The run after a human said yes."""
        self.world.answer(run)
        return self.work(run.id)

    def owing(self) -> str:
        """A first renewal that was declined; its invoice."""
        self.on("team")
        self.pays_with("sandbox_declined")
        self.later(days=31)
        assert self.subscription["state"] == "past_due"
        return self.invoices[-1].id

    # what stands -----------------------------------------------------------------------------

    @property
    def subscription(self) -> dict[str, Any]:
        """The subscription as a reader is told it."""
        told: dict[str, Any] = self.ask("subscription_get", VIEWER, tenant=TENANT)["result"]
        return told

    @property
    def book(self) -> Book:
        """The tenant's book as it is stored."""
        with self.world.store.read() as connection:
            return book_store.load(connection, TENANT, self.world.ports.catalog.plans)

    @property
    def invoices(self) -> list[Invoice]:
        """Every invoice of the tenant's, by number."""
        with self.world.store.read() as connection:
            found = rows.every(connection, invoice, Invoice, invoice.c.tenant == TENANT)
        return sorted(found, key=lambda one: one.number or "")

    def charged_minor(self) -> list[int]:
        """What the sandbox really took, over all invoices, in their order."""
        return [amount.minor for one in self.invoices for amount in self.sandbox.charged(one.id)]

    def versions(self) -> list[int]:
        """The version of the subscription's row: whoever saves a book raises it."""
        table = tables.subscription
        with self.world.store.read() as connection:
            return list(connection.execute(select(table.c.version)).scalars())


@contextmanager
def paying(
    standing: Onboarded, folder: Path, gate: Gate, server: Postgres | None = None
) -> Generator[PayingBench]:
    """A world of its own whose tenant is on the free plan of the priced catalog.

    Its store lies on the server, where one is given.
    """
    plans = parse_plans(PLANS.read_text(), "plans.yaml")
    with (
        closing(make_bench(standing, folder / "world", gate).world) as made,
        nullcontext(made) if server is None else on_postgres(made, server) as there,
        closing(SandboxProvider(folder / "sandbox.db")) as sandbox,
    ):
        catalog: Any = there.ports.catalog
        world = there.with_catalog(replace(catalog, plans=plans))
        world = world.with_ports(replace(world.ports, payments={"sandbox": sandbox}))
        world.alter(tables.subscription, tables.subscription.c.tenant == TENANT, plan="free")
        world.alter(tables.tenant, tables.tenant.c.id == TENANT, plan="free")
        world.grant(BILLING, "billing", actor="bill-bot")
        world.grant(VIEWER, "viewer", actor="vic-bot")
        yield PayingBench(world, sandbox)
