"""The steps of moving a living tenant: target, capture, copy, catch up, freeze, settle, cutover. Not the engine's order.

The source serves, whoever writes to it, until the cutover, and is what it was if the run ends before.
Behind the cutover the target serves, and the source is kept, closed, as the way back.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from control_plane.data.moving import CaughtUp, Check, catch_up, copy, moved_between
from control_plane.data.moving_ends import MovingEnd
from control_plane.data.moving_parts import Moved
from control_plane.databases.port import DatabaseEngine
from control_plane.domain.canonical import Json, plain
from control_plane.domain.home import Home
from control_plane.errors import Failed
from control_plane.handlers import (
    handovers,
    move_handover,
    move_money,
    stack_home,
    stack_steps,
)
from control_plane.handlers.fleet_bring_up import bring_up_alike
from control_plane.handlers.handler import Probe, Step, Work
from control_plane.handlers.move_money import plan_in_force
from control_plane.handlers.move_rows import (
    begun,
    columns_of,
    ended,
    homes_of,
    models_beside,
    taken_over,
)
from control_plane.handlers.stack_records import record_stack
from control_plane.handlers.tenant_moves import (
    change_tenant,
    data_epoch,
    inside_of,
    move_tenant,
    noted,
    noted_now,
    set_data_epoch,
    tenant_now,
    tenant_of,
)
from control_plane.move_commands import MoveTenant
from control_plane.provisioning.progress import Progress
from control_plane.provisioning.stacks import StackRequest
from control_plane.store import tables

# Rounds after which a source that is written faster than it can be followed is left alone.
_ROUNDS_MAX: Final = 200
# A round of so few changes is made again within the freeze without being felt.
_SMALL_ROUND: Final = 200
_ROWS_PER_WORD: Final = 10_000


def command_of(work: Work) -> MoveTenant:
    """The run's command."""
    assert isinstance(work.command, MoveTenant)
    return work.command


def stack_wanted(work: Work) -> StackRequest:
    """The stack that the tenant is to stand on."""
    tenant, command = tenant_now(work), command_of(work)
    plan = tenant.plan if command.change is None else command.change.plan
    return stack_steps.requested(
        work, tenant.cloud, command.proposed_isolation, plan, tenant.region
    )


# Before the copy -----------------------------------------------------------------------------


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the tenant on its way; its calls go on as before. What was is noted for the way back."""
    inside = inside_of(connection)
    tenant = tenant_of(work, inside)
    move_tenant(inside, tenant, "move_isolation")
    source, target = begun(work, inside)
    return {
        "source": source.id,
        "target": target.id,
        **handovers.exchange(inside, tenant.id, source.home, target.home),
        "isolation": tenant.isolation,
        "data_epoch": data_epoch(inside, tenant.id),
    }


def stay(work: Work, connection: Connection | None) -> None:
    """The tenant stays where it is; the target is none of its databases any more."""
    inside = inside_of(connection)
    ended(work, inside, "aborted")
    was = int(str(noted(work, inside, "begin")["data_epoch"]))
    # Thawed, the source stands open under the epoch of who has thawed it.
    epoch = int(str(noted(work, inside, "freeze").get("undone_epoch", was)))
    set_data_epoch(inside, work.run.tenant, epoch if was else 0)
    move_tenant(inside, tenant_of(work, inside), "fail")


def provision(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Apply exactly the saved plan of the stack that the tenant is to stand on."""
    applied = stack_steps.provisioner_of(work).apply(
        stack_wanted(work),
        stack_steps.saved_plan(work),
        should_stop=work.should_stop,
        tell=work.tell,
    )
    held: dict[str, Json] = {
        "outputs": plain(applied.outputs),
        "resources": plain(applied.resources),
    }
    return {"stack": held}


def deprovision(work: Work, connection: Connection | None) -> None:
    """Take the new stack away; one that any other of its databases stands on is never touched."""
    if command_of(work).proposed_isolation not in models_beside(work):
        stack_home.leave(work, stack_wanted(work))
        stack_steps.provisioner_of(work).destroy(stack_wanted(work))


def probe_provisioned(work: Work) -> Probe:
    """Whether the stack stands as planned."""
    return stack_steps.provisioner_of(work).settle(stack_wanted(work))


def make_target(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Make the target, closed: nobody but this run writes there; its server first, where a stack has it."""
    stack_home.adopt(work, homes_of(work)[1], stack_wanted(work))
    engine, home, tenant = *_place(work, 1), work.run.tenant
    engine.create(tenant, home.isolation, stack_steps.collections_of(work), work.epoch)
    served_at = int(str(noted_now(work, "begin")["data_epoch"]))
    bring_up_alike(work, homes_of(work)[0], home, served_at)
    engine.fence(tenant, home.isolation, work.epoch, open=False)
    return {"server": home.server, "isolation": home.isolation, "slot": home.slot}


def drop_target(work: Work, connection: Connection | None) -> None:
    """Drop the target: whatever is in it, this run has put there."""
    if not stack_home.is_there(work, homes_of(work)[1]):
        return
    engine, home = _place(work, 1)
    engine.drop(work.run.tenant, home.isolation, work.epoch)


# The rows ------------------------------------------------------------------------------------


def capture(work: Work, connection: Connection | None) -> dict[str, Json]:
    """From here on every change in the source is noted, whoever makes it."""
    _end(work, 0).capture(stack_steps.collections_of(work))
    return {"captured": True}


def release(work: Work, connection: Connection | None) -> None:
    """Nothing is noted any more, and nothing is frozen."""
    _end(work, 0).release()


def copy_rows(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Copy one snapshot of the source, telling how far it is; anew where it was broken off."""
    told = _Telling(work, "copy")
    done = copy(_end(work, 0), _end(work, 1), _moved(work), told)
    return {"rows": sum(done.rows.values())}


def follow(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Follow the source until a round is small, and compare every row as of one moment."""
    rounds = 0
    while rounds < _ROUNDS_MAX:
        rounds += 1
        done = _round(work, "none")
        if done.entries <= _SMALL_ROUND:
            break
    else:
        raise Failed("The source is written faster than it is copied.", code="cannot_follow")
    _round(work, "all")
    return {"rounds": rounds}


# The freeze ----------------------------------------------------------------------------------


def freeze(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let nobody write to the source, whoever it is; reads go on."""
    _end(work, 0).freeze(_left_ms(work) // 2)
    followed = move_handover.await_followers(work, _left_ms(work) / 4_000)
    return {"frozen": True, "followed": followed}


def thaw(work: Work, connection: Connection | None) -> None:
    """Let everybody write to the source again, at this worker's epoch."""
    was_open = int(str(noted_now(work, "begin")["data_epoch"])) != 0
    _end(work, 0).thaw(open=was_open)


def settle(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The last changes, and both sides compared; in time, or not at all. Then the target opens.

    Nobody knows the target yet: whoever was told of the source finds it closed.
    """
    if _left_ms(work) <= 0:
        raise _too_long()
    engine, home = _place(work, 1)
    # A worker that was killed behind this step's last deed has opened it already.
    engine.fence(work.run.tenant, home.isolation, work.epoch, open=False)
    compared = _round(work, "touched").comparison
    assert compared is not None, "the round was to be compared"
    if _left_ms(work) <= 0:
        raise _too_long()
    if noted_now(work, "begin")["data_epoch"] != 0:
        engine.fence(work.run.tenant, home.isolation, work.epoch, open=True)
    return {"data_epoch": work.epoch, "records": compared.records}


def cut_over(work: Work, connection: Connection | None) -> dict[str, Json]:
    """In one transaction the tenant stands in the target: the next call goes there."""
    inside = inside_of(connection)
    if _left_ms(work, inside) <= 0:
        raise _too_long()
    frozen_ms = command_of(work).max_freeze_s * 1_000 - _left_ms(work, inside)
    settled = noted(work, inside, "settle")
    records = int(str(settled["records"]))
    target = taken_over(work, inside, records=records, frozen_ms=frozen_ms)
    plan = plan_in_force(work, inside)
    change_tenant(inside, tenant_of(work, inside), plan=plan, **columns_of(target.home))
    if noted(work, inside, "begin")["data_epoch"] != 0:
        set_data_epoch(inside, work.run.tenant, int(str(settled["data_epoch"])))
    move_handover.hand_over(work, inside)
    return {"database": target.id, "frozen_ms": frozen_ms}


def retire(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let the services into the source no more, once they follow, or the freeze's time is over."""
    within_s = max(0, _left_ms(work)) / 1_000
    followed = move_handover.await_followers(work, within_s, may_stop=False)
    return {"followed": followed, **handovers.retire_leaving(work, connection)}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """The tenant is in service where it stands now."""
    inside = inside_of(connection)
    stood = noted(work, inside, "provision").get("stack")
    if isinstance(stood, dict):
        record_stack(work, inside, stack_steps.request_of(work, tenant_of(work, inside)), stood)
    return {"state": move_tenant(inside, tenant_of(work, inside), "succeed")}


# Means ---------------------------------------------------------------------------------------


class _Telling:
    """Says now and then how many rows are done, and stops where the run was asked to."""

    def __init__(self, work: Work, what: str) -> None:
        self._work = work
        self._what = what
        self._began_s = time.monotonic()
        self._next = _ROWS_PER_WORD

    def __call__(self, rows: int) -> None:
        if self._work.should_stop():
            raise Failed("The run was asked to stop.", code="canceled")
        if rows >= self._next:
            self._next = rows + _ROWS_PER_WORD
            elapsed_s = int(time.monotonic() - self._began_s)
            self._work.tell(
                Progress(
                    address=f"{self._what}.{rows}",
                    doing="other",
                    stage="working",
                    elapsed_s=elapsed_s,
                )
            )


def _place(work: Work, side: int) -> tuple[DatabaseEngine, Home]:
    home = homes_of(work)[side]
    return work.ports.databases.at(home), home


def _end(work: Work, side: int) -> MovingEnd:
    engine, home = _place(work, side)
    return engine.moving(work.run.tenant, home.isolation, work.epoch)


def _moved(work: Work) -> Moved:
    ends = _end(work, 0), _end(work, 1)
    return moved_between(*ends, stack_steps.collections_of(work), work.run.tenant)


def _round(work: Work, check: Check) -> CaughtUp:
    if work.should_stop():
        raise Failed("The run was asked to stop.", code="canceled")
    done = catch_up(_end(work, 0), _end(work, 1), _moved(work), check=check)
    if done.comparison is not None and not done.comparison.is_equal:
        raise Failed("The target is not what the source is.", code="move_differs")
    return done


def _left_ms(work: Work, connection: Connection | None = None) -> int:
    """What is left of the freeze: it began when its step did, whoever has worked on it since."""
    if connection is None:
        with work.ports.store.read() as reading:
            return _left_ms(work, reading)
    table = tables.run_step
    where = (table.c.run_id == work.run.id) & (table.c.name == "freeze")
    began = connection.execute(select(table.c.dispatched_at).where(where)).scalar()
    whole_ms = command_of(work).max_freeze_s * 1_000
    if began is None:
        return whole_ms
    passed = work.ports.clock.now() - datetime.fromisoformat(began)
    return whole_ms - int(passed.total_seconds() * 1_000)


def _too_long() -> Failed:
    return Failed("The tenant was read-only for too long.", code="freeze_too_long")


STEPS: tuple[Step, ...] = (
    Step("begin", do=begin, undo=stay),
    Step("book", do=move_money.book, undo=move_money.unbook),
    Step("collect", do=move_money.collect, probe=move_money.probe_collected, outside=True),
    Step("provision", do=provision, undo=deprovision, probe=probe_provisioned, outside=True),
    Step("target", do=make_target, undo=drop_target, outside=True),
    Step(
        "credential",
        do=handovers.make_coming,
        undo=handovers.unmake_coming,
        probe=handovers.probe_coming,
        outside=True,
    ),
    Step("capture", do=capture, undo=release, outside=True),
    Step("copy", do=copy_rows, outside=True),
    Step("follow", do=follow, outside=True),
    Step("announce", do=move_handover.announce, undo=move_handover.withdraw),
    Step("freeze", do=freeze, undo=thaw, outside=True),
    Step("settle", do=settle, outside=True),
    Step("cutover", do=cut_over, irreversible=True),
    Step("retire", do=retire, outside=True, irreversible=True),
    Step("finish", do=finish, irreversible=True),
)
