"""The steps of one run: done in order, undone in reverse, probed after a crash. Moves no run's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection

from control_plane.domain.canonical import Json
from control_plane.domain.effect import BEGUN
from control_plane.engine.failpoints import Failpoints
from control_plane.engine.runbook import Runbook
from control_plane.errors import Failed, PaybillError, Unavailable, Unknown
from control_plane.facts.load import run_row
from control_plane.handlers.handler import Lifecycle, Ports, Step, Work
from control_plane.handlers.run_waits import LOOKS, LOST, looks_at
from control_plane.plane import Plane
from control_plane.ports import Regate

# Of a step that cannot be undone: behind it there is only forward, so what passes is waited out.
_TRIES_MAX = 3


class Stepping:
    """Performs, probes and undoes; each boundary is a failpoint."""

    def __init__(
        self,
        book: Runbook,
        ports: Ports,
        regate: Regate,
        failpoints: Failpoints,
        lifecycle: Lifecycle,
        work: Work,
    ) -> None:
        self._book = book
        self._ports = ports
        self._plane = Plane(ports)
        self._regate = regate
        self._failpoints = failpoints
        self._lifecycle = lifecycle
        self._work = work

    # forward ---------------------------------------------------------------------------------

    def perform_all(self) -> None:
        """Do every step that is not done yet, in order.

        A cancelled run stops between two steps, as long as all that it has done can be undone.
        """
        for position, step in enumerate(self._lifecycle.steps):
            state = self._state(step)
            if state == "succeeded":
                continue
            if state == "dispatched" and self._settled_by_probe(position, step):
                continue
            if self._book.read().cancel_requested and not self.irreversible_begun():
                raise Failed("The run was asked to stop.", code="canceled")
            self._perform(position, step)

    def _settled_by_probe(self, position: int, step: Step) -> bool:
        # The intent stands without an outcome: whoever began it died. Look before doing again.
        if step.probe(self._work) != "present":
            return False
        with self._book.writing() as connection:
            self._book.write_step(
                connection, step, position, "succeeded", observed={"reconciled": True}
            )
        return True

    def _perform(self, position: int, step: Step) -> None:
        self._reach(step, "before")
        permit = self._regate.permit(self._work.run, step.name, self._book.epoch)
        if not step.outside:
            with self._book.writing() as connection:
                self._heed(connection, step)
                self._plane.consume(connection, permit, self._work.command)
                observed = step.do(self._work, connection)
                self._reach(step, "inside")
                self._book.write_step(
                    connection,
                    step,
                    position,
                    "succeeded",
                    permit_id=permit.id,
                    observed=observed,
                )
            self._reach(step, "recorded")
            return
        with self._book.writing() as connection:
            self._heed(connection, step)
            self._plane.consume(connection, permit, self._work.command)
            self._book.write_step(connection, step, position, "dispatched", permit_id=permit.id)
        self._reach(step, "dispatched")
        observed = self._outside(position, step)
        self._reach(step, "done")
        with self._book.writing() as connection:
            self._book.write_step(connection, step, position, "succeeded", observed=observed)
        self._reach(step, "recorded")

    def _heed(self, connection: Connection, step: Step) -> None:
        # In the transaction in which the step begins: who asks a run to stop is refused from then
        # on, and whoever was not is heard.
        if not step.irreversible:
            return
        run = run_row(connection, self._book.run_id)
        assert run is not None, "runs are never deleted"
        if self.irreversible_begun():
            return
        if run.cancel_requested:
            raise Failed("The run was asked to stop.", code="canceled")
        step.still(self._work, connection)

    def _outside(self, position: int, step: Step) -> dict[str, Json]:
        for _ in range(_TRIES_MAX - 1 if step.irreversible else 0):
            try:
                return step.do(self._work, None)
            except PaybillError as error:
                if not _passes(error):
                    raise
        try:
            return step.do(self._work, None)
        except Unknown:
            with self._book.writing() as connection:
                self._book.write_step(connection, step, position, "unknown")
            raise

    # looking ---------------------------------------------------------------------------------

    def reconcile(self) -> Literal["present", "absent"]:
        """Look at the step whose effect is not known; ``absent`` also where it stands only in part.

        A part of an effect is no effect to go on with: it is undone with the rest.
        """
        position, step = self._doubted()
        if step is None:
            return "present"
        if step.probe(self._work) != "present":
            return "absent"
        with self._book.writing() as connection:
            looks = looks_at(self._book.step(connection, step.name))
            seen: dict[str, Json] = {"reconciled": True, **({LOOKS: looks} if looks else {})}
            self._book.write_step(connection, step, position, "succeeded", observed=seen)
        return "present"

    def looked_in_vain(self, connection: Connection) -> None:
        """Count one more look at the step whose effect is not known, which did not show it.

        At the first one it is kept how the run came to be of unknown standing.
        """
        position, step = self._doubted()
        run = run_row(connection, self._book.run_id)
        if step is None or run is None:
            return
        row = self._book.step(connection, step.name)
        lost: dict[str, Json] = {"reason": run.reason, "detail": run.detail}
        known = {LOST: lost} if row is None or row.observed is None else row.observed
        seen: dict[str, Json] = {**known, LOOKS: looks_at(row) + 1}
        self._book.write_step(connection, step, position, "unknown", observed=seen)

    def lost_by(self) -> dict[str, Json]:
        """How the run came to be of unknown standing; empty where its own words still say so."""
        _, step = self._doubted()
        if step is None:
            return {}
        with self._ports.store.read() as connection:
            row = self._book.step(connection, step.name)
        found = None if row is None or row.observed is None else row.observed.get(LOST)
        return dict(found) if isinstance(found, Mapping) else {}

    def _doubted(self) -> tuple[int, Step | None]:
        for position, step in enumerate(self._lifecycle.steps):
            if self._state(step) == "unknown":
                return position, step
        return 0, None

    def remains(self) -> bool:
        """Whether any step has begun and is not undone."""
        return any(self._state(step) in BEGUN for step in self._lifecycle.steps)

    def finished(self) -> bool:
        """Whether every step is done: then there is nothing to fail, and only forward is left."""
        return all(self._state(step) == "succeeded" for step in self._lifecycle.steps)

    def irreversible_begun(self) -> bool:
        """Whether a step that cannot be undone has begun."""
        return any(
            step.irreversible and self._state(step) in BEGUN for step in self._lifecycle.steps
        )

    def residue(self) -> str:
        """What a run leaves that can neither be undone nor went to its end; empty where none does."""
        if not self.irreversible_begun():
            return ""
        final = [step for step in self._lifecycle.steps if step.irreversible]
        done = [step.name for step in final if self._state(step) == "succeeded"]
        left = [step.name for step in final if step.name not in done]
        return f"Beyond undoing; done: {', '.join(done) or 'none'}; left: {', '.join(left)}."

    # backward --------------------------------------------------------------------------------

    def undo_all(self) -> None:
        """Undo every step that has begun, in reverse order; each inverse is idempotent.

        What cannot be undone stays as it is: the inverses of the others find that it has begun.
        """
        for position, step in reversed(list(enumerate(self._lifecycle.steps))):
            if step.irreversible or self._state(step) not in BEGUN:
                continue
            self._reach(step, "undo_before")
            if step.outside:
                step.undo(self._work, None)
                self._reach(step, "undo_done")
                # A later inverse may have to know under which epoch this one was carried out.
                under: dict[str, Json] = {"undone_epoch": self._book.epoch}
                with self._book.writing() as connection:
                    self._book.write_step(connection, step, position, "undone", observed=under)
            else:
                with self._book.writing() as connection:
                    step.undo(self._work, connection)
                    self._reach(step, "undo_done")
                    self._book.write_step(connection, step, position, "undone")
            self._reach(step, "undo_recorded")

    # means -----------------------------------------------------------------------------------

    def _state(self, step: Step) -> str:
        with self._ports.store.read() as connection:
            row = self._book.step(connection, step.name)
        return "planned" if row is None else row.state

    def _reach(self, step: Step, boundary: str) -> None:
        self._failpoints.reach(f"{self._lifecycle.kind}.{step.name}.{boundary}")


def _passes(error: PaybillError) -> bool:
    # Such a step is idempotent, so even one whose effect is not known may be done again.
    retryable = isinstance(error, Failed) and error.retryable
    return retryable or isinstance(error, Unavailable | Unknown)
