"""Deciding an approval on another channel: shows the plan, takes a human's signature. Never for an agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, select

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.domain.approval import APPROVAL
from control_plane.domain.approval_record import Approval, Approver
from control_plane.domain.caller import Caller
from control_plane.domain.canonical import digest, instant
from control_plane.domain.run_record import Run
from control_plane.domain.signing import approval_message, enrolled, enrolment_message
from control_plane.errors import NotFound, Refused
from control_plane.facts.load import approval_row, run_row
from control_plane.handlers.handler import Ports
from control_plane.secrets import signer
from control_plane.secrets.key_file import load_seed, save_seed
from control_plane.store import rows, tables
from graphs.approvals import Approvals
from server.keys import require_strong
from server.workspace import Workspace

CONFIRM_DIGITS = 8
_LISTED_MAX = 200


@dataclass(frozen=True)
class Question:
    """An approval with the run that waits for it."""

    approval: Approval
    run: Run


class Approving:
    """What the approver's commands do; the caller is the approver's own token."""

    def __init__(self, workspace: Workspace, ports: Ports, approvals: Approvals) -> None:
        self._workspace = workspace
        self._ports = ports
        self._approvals = approvals

    # approvers -------------------------------------------------------------------------------

    def key_path(self, principal: str) -> Path:
        """Where an approver's sealed key lies: in this user's state, never in the workspace."""
        name = signer.key_id(principal.encode())
        return self._workspace.state / "approvers" / f"{name}.json"

    def enrol(self, principal: str, passphrase: bytes, by: tuple[str, bytes]) -> Approver:
        """Make a key for a person under their passphrase; ``by`` is the signing key's id and seed.

        Refused unless that key is the root key or an approver's in force.
        """
        require_strong(passphrase)
        seed = signer.new_seed()
        public = signer.public_bytes(seed)
        now = instant(self._ports.clock.now())
        message = enrolment_message(principal, public.hex(), now)
        approver = Approver(
            key_id=signer.key_id(public),
            principal=principal,
            public_key=public.hex(),
            enrolled_at=now,
            enrolled_by=by[0],
            signature=signer.sign(by[1], message).hex(),
        )
        with self._ports.store.write() as connection:
            known = self._known(connection)
            above = known.get(by[0])
            if by[0] != self._ports.root[0] and (above is None or above.revoked_at is not None):
                raise Refused(
                    "Only the root key or an approver in force enrols.", code="not_enrolled"
                )
            if any(one.principal == principal and one.revoked_at is None for one in known.values()):
                raise Refused("This person has a key in force.", code="enrolled_already")
            if not enrolled(approver, known, self._ports.root, signer.verify):
                raise Refused("The enrolment does not lead to the root key.", code="not_enrolled")
            rows.put(connection, tables.approver, approver)
            self._record(connection, "approver.enrolled", approver, ())
            # What lies there now is a key that was revoked.
            self.key_path(principal).unlink(missing_ok=True)
            save_seed(self.key_path(principal), seed, passphrase)
        return approver

    def revoke(self, key_id: str, by: tuple[str, bytes]) -> None:
        """End an approver's key; what it approved and is not consumed is void from now on."""
        with self._ports.store.write() as connection:
            known = self._known(connection)
            above = known.get(by[0])
            if by[0] != self._ports.root[0] and (above is None or above.revoked_at is not None):
                raise Refused(
                    "Only the root key or an approver in force revokes.", code="not_enrolled"
                )
            table = tables.approver
            live = (table.c.key_id == key_id) & table.c.revoked_at.is_(None)
            now = instant(self._ports.clock.now())
            found = guard(connection, table.name, key_id)
            if rows.change(connection, table, live, revoked_at=now) != 1:
                raise NotFound("There is no such approver in force.")
            self._record(connection, "approver.revoked", known[key_id], (found,))

    def approvers(self) -> list[Approver]:
        """Every approver, in force or not."""
        with self._ports.store.read() as connection:
            return list(self._known(connection).values())

    def _known(self, connection: Connection) -> dict[str, Approver]:
        table = tables.approver
        found = rows.every(connection, table, Approver, table.c.key_id != "")
        return {one.key_id: one for one in found}

    def _record(
        self, connection: Connection, kind: str, approver: Approver, found: tuple[Guard, ...]
    ) -> None:
        self._ports.recorder.record(
            connection,
            kind,
            "",
            {"key_id": approver.key_id, "principal": approver.principal},
            (("approver", approver.key_id),),
            found,
        )

    # approvals -------------------------------------------------------------------------------

    def pending(self, caller: Caller) -> list[Question]:
        """The approvals that this caller may answer now, oldest first."""
        with self._ports.store.read() as connection:
            table = tables.approval
            ids = connection.execute(
                select(table.c.id)
                .where(table.c.state == "pending")
                .order_by(table.c.created_at)
                .limit(_LISTED_MAX)
            ).scalars()
            found: list[Question] = []
            for approval_id in list(ids):
                try:
                    approval = self._approvals.decide(connection, caller, approval_id, "approve")
                    question = self._question(connection, approval)
                except (NotFound, Refused):
                    continue
                found.append(question)
            return found

    def show(self, caller: Caller, approval_id: str) -> Question:
        """One approval that this caller may answer; NotFound or Refused otherwise."""
        with self._ports.store.read() as connection:
            approval = self._approvals.decide(connection, caller, approval_id, "approve")
            return self._question(connection, approval)

    def answer(
        self,
        caller: Caller,
        approval_id: str,
        answer: Literal["approve", "deny"],
        *,
        confirm: str,
        passphrase: bytes,
    ) -> Approval:
        """Sign and keep the answer, and wake the worker.

        ``confirm`` is the digest's first 8 characters, typed by the human who read the plan.
        """
        seed = load_seed(self.key_path(caller.principal), passphrase)
        named = signer.key_id(signer.public_bytes(seed))
        now = instant(self._ports.clock.now())
        with self._ports.store.write(self._scope(approval_id)) as connection:
            approval = self._approvals.decide(connection, caller, approval_id, answer)
            self._question(connection, approval)
            if confirm != approval.plan_digest[:CONFIRM_DIGITS]:
                raise Refused(
                    "These are not the digest's first 8 characters.", code="not_confirmed"
                )
            approver = self._known(connection).get(named)
            if approver is None or approver.revoked_at or approver.principal != caller.principal:
                raise Refused("This key is not an approver's in force.", code="not_enrolled")
            state = APPROVAL.next(approval.state, "approve" if answer == "approve" else "reject")
            table = tables.approval
            open_still = (table.c.id == approval.id) & (table.c.state == approval.state)
            found = guard(connection, table.name, approval.id)
            changed = rows.change(
                connection,
                table,
                open_still,
                state=state,
                decided_by=caller.principal,
                decided_at=now,
                key_id=named,
                signature=signer.sign(seed, approval_message(approval, answer)).hex(),
                checkpoint=self._newest_note(connection),
            )
            if changed != 1:
                raise Refused("The approval was answered in the meantime.", code="not_pending")
            self._wake(connection, approval, now)
            self._ports.recorder.record(
                connection,
                f"approval.{state}",
                approval.tenant,
                {
                    "approval_id": approval.id,
                    "plan_digest": approval.plan_digest,
                    "decided_by": caller.principal,
                    "grant_id": caller.grant_id,
                    "key_id": named,
                    "rule": approval.rule,
                },
                (("approval", approval.id),),
                (found,),
            )
            decided = rows.first(connection, table, Approval, table.c.id == approval.id)
        assert decided is not None, "approvals are never deleted"
        return decided

    def _scope(self, approval_id: str) -> str | None:
        with self._ports.store.read() as connection:
            approval = approval_row(connection, approval_id)
        return None if approval is None else approval.tenant or None

    def _question(self, connection: Connection, approval: Approval) -> Question:
        run = run_row(connection, approval.run_id)
        assert run is not None, "runs are never deleted"
        # What is shown is what is signed: a plan that the digest is not of is shown to nobody.
        if digest(run.plan) != approval.plan_digest:
            raise Refused("The plan is not the one that was asked about.", code="plan_altered")
        return Question(approval, run)

    def _newest_note(self, connection: Connection) -> str | None:
        table = tables.checkpoint
        newest = select(table.c.note).order_by(table.c.size.desc()).limit(1)
        note: str | None = connection.execute(newest).scalar()
        return note

    def _wake(self, connection: Connection, approval: Approval, now: str) -> None:
        connection.execute(
            tables.job.insert().values(
                id=self._ports.ids.new(),
                routine="run",
                run_id=approval.run_id,
                tenant=approval.tenant,
                state="pending",
                created_at=now,
            )
        )
