"""The lifecycle of changing records as a run: what is asked about first, or is many. Its steps stand in record_run_steps.py.

It leaves its tenant free for others: the rows' own versions say whether it may still be carried out,
and while it waits for an approval nobody has to wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from control_plane.commands import ChangeRecords, Command
from control_plane.data.collection import Collection, Verb
from control_plane.data.handles import leaving
from control_plane.data.record_count import require_room
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run
from control_plane.errors import NotFound
from control_plane.facts.record import RecordFacts
from control_plane.handlers import record_run_steps
from control_plane.handlers.exactness import require_exact
from control_plane.handlers.handler import Observed, Ports, Subject, View, Work
from control_plane.handlers.record_handles import giving
from control_plane.handlers.record_place import located, offered, record_subject
from control_plane.handlers.record_quota import records_held, records_max
from control_plane.handlers.record_selection import RUN_KIND, Selection, bound, resolved
from control_plane.handlers.record_weights import RowChange, group_names, weigh
from control_plane.handlers.run_facts import run_facts
from control_plane.ports import Asker

_VERBS: Mapping[str, Verb] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "bulk_update": "bulk_update",
    "bulk_delete": "bulk_delete",
}


class ChangeRecordsHandler:
    """Changes the rows that were planned at their versions, all or none."""

    kind = RUN_KIND
    command_type: type[Command] = ChangeRecords
    steps = record_run_steps.STEPS
    holds = False

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The collection of the tenant; with a run in hand, what its plan weighs."""
        asked = resolved(_asked(command), view.connection)
        subject = record_subject(view, asked.tenant, asked.collection, asked.op)
        known = run_facts(view, run, approval, step, asked.tenant)
        if run is not None:
            told = (run.plan_facts or {}).get("change_groups") or []
            known["change_groups"] = group_names(told)
        facts = RecordFacts.model_validate(subject.facts.model_dump() | known)
        return replace(subject, facts=facts)

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """The collection offers it, and many rows only by a policy that is exact over them."""
        asked = _asked(command)
        if asked.op == "undo":
            return
        collection = offered(ports, asked.collection, _VERBS[asked.op])
        if asked.filter is not None:
            with ports.store.read() as connection:
                require_exact(connection, collection, ports)

    def look(
        self, command: Command, view: View, subject: Subject, may: frozenset[str]
    ) -> dict[str, Json] | None:
        """Every row before and after, as far as who asks may see it."""
        asked = resolved(_asked(command), view.connection)
        collection = view.ports.catalog.collections.get(asked.collection)
        if collection is None:
            raise NotFound
        place, asker = located(subject), Asker(view.rows, may)
        handles = giving(view, asked.tenant, collection)
        selection = Selection(asked, collection, place, view.ports, asker, handles)
        told: list[Json] = [_shown(collection, change) for change in selection.found()]
        return {"rows": {"collection": collection.name, "op": asked.op, "changes": told}}

    def observe(self, work: Work) -> Observed:
        """The rows that the plan is bound to, at their versions. Refused (`records_quota`)."""
        with work.ports.store.read() as connection:
            asked = resolved(_asked(work.command), connection)
        collection, changes = record_run_steps.selection(work, asked)
        _require_room(work, record_run_steps.growth(changes))
        rows: dict[str, Json] = {
            "collection": collection.name,
            "op": asked.op,
            **_said(collection, asked),
            "changes": bound(changes, work.ports.hmac_key),
        }
        return Observed(parts={"rows": rows}, facts=weigh(collection, changes))

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """None: all of it was observed."""
        return {}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """What was changed, by its ids; what the rows hold is read by who may."""
        asked = _asked(self.command_type.restored(run.command))
        if asked.op in ("create", "update"):
            return {"record": {"id": asked.record_id}, "untrusted_fields": []}
        if asked.op == "delete":
            return {"deleted": asked.record_id}
        ids: list[Json] = [*record_run_steps.planned_ids(run)]
        return {"changed": len(ids), "ids": ids}


def _asked(command: Command) -> ChangeRecords:
    assert isinstance(command, ChangeRecords)
    return command


def _require_room(work: Work, more: int) -> None:
    # Decided when it is written, and told here before anybody is asked to approve it.
    if more <= 0:
        return
    ports, tenant = work.ports, work.run.tenant
    with ports.store.read() as connection:
        most = records_max(connection, ports.catalog.plans, tenant)
        require_room(records_held(connection, ports, tenant), more, most)


def _said(collection: Collection, asked: ChangeRecords) -> dict[str, Json]:
    """What was asked for, which an approver must see: digests alone tell nobody what would be done."""
    told: dict[str, Json] = {}
    if asked.filter is not None:
        told["filter"] = asked.filter
    if asked.values:
        told["values"] = leaving(collection, asked.values, asked.record_id, asked.version, None)
    if asked.undone_run:
        told["undone_run"] = asked.undone_run
    return told


def _shown(collection: Collection, change: RowChange) -> dict[str, Json]:
    shown, after = change.shown, change.after
    fields = change.changed(collection)
    if shown is not None and after is not None:
        fields = tuple(name for name in fields if name in shown)
    before = None if shown is None else {name: shown[name] for name in fields if name in shown}
    if after is not None:
        # Their own words, but for what leaves as a handle: that is not said again either.
        said = leaving(collection, after, change.id, change.version, None)
        after = said if change.shown_after is None else change.shown_after
    return {
        "id": change.id,
        "version": change.version,
        "before": before,
        "after": None if after is None else {n: after[n] for n in fields if n in after},
    }
