"""The lifecycle of putting another catalog in force: its object, its plan, its answer. Its steps stand in apply_catalog_steps.py.

It is about no tenant and holds none: runs that have begun go to their end first, others wait until
it is switched, and calls are answered all the while.
"""

from __future__ import annotations

from sqlalchemy import select

from control_plane.commands import ApplyCatalog, Command
from control_plane.domain.approval_record import Approval
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.canonical import Json
from control_plane.domain.run import RUN_ACTIVE
from control_plane.domain.run_record import Run
from control_plane.errors import Conflict, Refused
from control_plane.facts.catalog import CatalogFacts
from control_plane.handlers import apply_catalog_steps
from control_plane.handlers.catalog_in_force import KIND, applied_digest, digest_before
from control_plane.handlers.handler import Observed, Ports, Subject, View, Work
from control_plane.handlers.run_facts import run_facts
from control_plane.store import tables


class ApplyCatalogHandler:
    """Makes every database serve both, switches, then makes each serve the new one alone."""

    kind = KIND
    command_type: type[Command] = ApplyCatalog
    steps = apply_catalog_steps.STEPS
    holds = False

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The catalog; with a run in hand, at stage ``apply`` and with what its plan counts."""
        asked = _asked(command)
        known = {
            "exists": True,
            "member": EVERY_TENANT in view.caller.tenants,
            **run_facts(view, run, approval, step, ""),
        }
        facts = CatalogFacts.model_validate(known)
        return Subject(id=asked.catalog, facts=facts, acts=(facts.stage,))

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """There is something to do, and no database still serves yet another catalog."""
        asked = _asked(command)
        with ports.store.read() as connection:
            applied, before = applied_digest(connection), digest_before(connection)
        if applied == asked.catalog and before is None:
            raise Refused("This catalog is in force.", code="catalog_applied", fact="catalog")
        if applied != asked.catalog and before is not None:
            raise Refused(
                "Databases still serve the catalog before the one in force: apply that one again "
                "first, so that they are brought to their end.",
                code="catalog_half_applied",
                fact="catalog",
            )

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Nothing yet: only the worker compares. Conflict while another one is under way."""
        run = tables.run
        # One that could not be taken back does nothing more: it is applied again, to its end.
        under_way = sorted(RUN_ACTIVE - {"compensation_failed"})
        others = (run.c.kind == KIND) & run.c.state.in_(under_way)
        found = view.connection.execute(select(run.c.id).where(others)).scalars().first()
        if found is not None:
            raise Conflict("Another catalog is being applied.", run_id=found)
        return None

    def observe(self, work: Work) -> Observed:
        """Compare the catalogs, rights among them; changes nothing."""
        asked = _asked(work.command)
        catalogs = apply_catalog_steps.catalogs_of(work)
        with work.ports.store.read() as connection:
            before = digest_before(connection) or applied_digest(connection)
            assert before is not None, "a workspace begins with a catalog"
            sides = catalogs.plans(before), catalogs.plans(asked.catalog)
            apply_catalog_steps.require_plans(connection, *sides)
        compared = catalogs.compared(before, asked.catalog)
        return Observed(parts=compared.parts, facts=compared.facts)

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """None: all of it was observed."""
        return {}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """Which catalog is in force now, and which it took the place of."""
        before, after = apply_catalog_steps.planned_digests(run)
        return {"catalog": after, "before": before}


def _asked(command: Command) -> ApplyCatalog:
    assert isinstance(command, ApplyCatalog)
    return command
