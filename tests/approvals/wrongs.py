"""Ways in which an approval can be wrong, each varied by chance. Not a test."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.canonical import Json, instant
from control_plane.domain.plan import Plan
from control_plane.domain.run_record import Run
from control_plane.errors import PaybillError
from control_plane.secrets import signer
from control_plane.secrets.key_file import KeyFileError, load_seed
from control_plane.store import tables
from tests.support.approval_world import (
    APPROVER,
    APPROVER_PASSPHRASE,
    OTHER,
    REQUESTER,
    START,
    TENANT,
    World,
)

PLAN_FIELDS = ("command", "tenant", "as_of", "catalog", "bundle", "facts", "parts")
SIGNED_FIELDS = ("tenant", "requester", "requester_actor", "rule", "plan_digest", "expires_at")


@dataclass
class Case:
    """One world with one run that waits, and the chance that varies what is wrong."""

    world: World
    run: Run
    chance: random.Random

    @property
    def seed(self) -> bytes:
        """The enrolled approver's signing seed."""
        return self.world.template.approver_seed

    def new_seed(self) -> bytes:
        """A key that nobody has enrolled."""
        return self.chance.randbytes(signer.SEED_BYTES)

    def flipped(self, text: str) -> str:
        """Hexadecimal text with one bit that is another."""
        raw = bytearray.fromhex(text)
        raw[self.chance.randrange(len(raw))] ^= 1 << self.chance.randrange(8)
        return raw.hex()

    def refused(self, code: str, attempt: Callable[[], object]) -> None:
        """The attempt is refused with that code."""
        with pytest.raises(PaybillError) as refused:
            attempt()
        assert refused.value.code == code, refused.value

    def sign(self, **altered: Any) -> None:
        """A genuine approval, and then what is altered from outside."""
        self.world.forge(self.run, seed=self.seed, **altered)


Wrong = Callable[[Case], World | None]


# the digest, the signature -----------------------------------------------------------------------


def changed(chance: random.Random, value: Json) -> Json:
    """The value with one leaf that is another."""
    if isinstance(value, Mapping):
        name = chance.choice(sorted(value))
        return {**value, name: changed(chance, value[name])}
    if isinstance(value, list) and value:
        place = chance.randrange(len(value))
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    return f"{value}{chance.randrange(10)}"


def another_digest(case: Case) -> str:
    """The digest of the plan with one of its fields changed, each in its turn."""
    plan: Any = case.run.plan
    field = case.chance.choice(PLAN_FIELDS)
    other = {**plan, field: changed(case.chance, plan[field])}
    made = Plan.model_validate(other).digest
    assert made != case.run.plan_digest
    return made


def digest_of_another_plan(case: Case) -> None:
    case.world.alter_approval(case.run, plan_digest=another_digest(case))
    case.sign()


def digest_of_another_plan_on_run_and_approval(case: Case) -> None:
    other = another_digest(case)
    case.world.alter_approval(case.run, plan_digest=other)
    case.world.alter_run(case.run, plan_digest=other)
    case.sign()


def signature_flipped(case: Case) -> None:
    case.sign()
    signature = case.world.approval(case.run).signature
    case.world.alter_approval(case.run, signature=case.flipped(signature or ""))


def signature_malformed(case: Case) -> None:
    forms = ("", "zz", "00", "é" * 64, "00" * 63, "00" * 65, None)
    case.sign(signature=case.chance.choice(forms))


def signature_of_another_approval(case: Case) -> None:
    other = case.world.parked(OTHER)
    case.world.answer(other)
    case.sign(signature=case.world.approval(other).signature)


def signed_no(case: Case) -> None:
    case.world.answer(case.run, "deny")
    assert case.world.approval(case.run).state == "rejected"
    case.world.alter_approval(case.run, state="approved")


def altered_after_signing(case: Case) -> None:
    field = case.chance.choice(SIGNED_FIELDS)
    values = {"expires_at": instant(START + timedelta(days=30)), "rule": "own_hand"}
    value = values.get(field, another_digest(case) if field == "plan_digest" else "mallory")
    case.sign(**{field: value})


def another_run(case: Case) -> None:
    other = case.world.parked(OTHER)
    case.world.answer(other)
    if case.chance.random() < 0.5:
        case.world.alter_run(case.run, approval_id=other.approval_id)
        return
    approval = case.world.approval(other)
    row = approval.model_dump(exclude={"id", "created_at"}) | {"run_id": case.run.id}
    if case.chance.random() < 0.5:
        row |= {"plan_digest": case.run.plan_digest, "tenant": TENANT}
    case.world.alter_approval(case.run, **row)


# the key, the enrolment --------------------------------------------------------------------------


def key_not_enrolled(case: Case) -> None:
    case.world.forge(case.run, seed=case.new_seed())


def key_named_wrongly(case: Case) -> None:
    # Signed by a stranger's key under the name of the enrolled one.
    named = signer.key_id(signer.public_bytes(case.seed))
    case.world.forge(case.run, seed=case.new_seed(), key_id=named)


def approver_revoked(case: Case) -> None:
    case.world.answer(case.run)
    root = (case.world.ports.root[0], case.world.template.root_seed)
    case.world.approving.revoke(signer.key_id(signer.public_bytes(case.seed)), root)


def enrolment_forged(case: Case) -> None:
    seed = case.new_seed()
    how = case.chance.randrange(3)
    if how == 0:
        # By itself.
        case.world.enrol(APPROVER, seed, signed_by=seed)
    elif how == 1:
        # By a stranger, who says that they are the root.
        root = case.world.ports.root[0]
        case.world.enrol(APPROVER, seed, signed_by=case.new_seed(), enrolled_by=root)
    else:
        # By the root, and altered since.
        enrolled = case.world.enrol("zoe", seed)
        case.world.alter(
            tables.approver, tables.approver.c.key_id == enrolled.key_id, principal=APPROVER
        )
    case.world.forge(case.run, seed=seed)


def enrolment_in_a_circle(case: Case) -> None:
    first, second = case.new_seed(), case.new_seed()
    case.world.enrol(APPROVER, first, signed_by=second)
    case.world.enrol(APPROVER, second, signed_by=first)
    case.world.forge(case.run, seed=first)


def another_persons_key(case: Case) -> None:
    seed = case.new_seed()
    case.world.grant("dora", "approver")
    case.world.enrol("dora", seed)
    case.world.forge(case.run, seed=seed, decided_by=APPROVER)


# the person, the right ------------------------------------------------------------------------------


def requester_alone(case: Case) -> None:
    # The requester holds every role and an enrolled key: two people are two people.
    seed = case.new_seed()
    case.world.grant(REQUESTER, "operator,approver")
    case.world.enrol(REQUESTER, seed)
    case.world.forge(case.run, seed=seed, decided_by=REQUESTER)


def requester_disguised(case: Case) -> None:
    # And stays who they are, whatever the approval's own row says.
    seed = case.new_seed()
    case.world.grant(REQUESTER, "operator,approver")
    case.world.enrol(REQUESTER, seed)
    altered = case.chance.choice(({"rule": "own_hand"}, {"requester": "mallory"}))
    case.world.alter_approval(case.run, **altered)
    case.world.forge(case.run, seed=seed, decided_by=REQUESTER)


def agent_approves(case: Case) -> None:
    world, approving = case.world, case.world.approving
    world.grant("dora", "operator", actor="helper")
    approving.enrol("dora", APPROVER_PASSPHRASE, (world.ports.root[0], world.template.root_seed))
    code = "not_found"
    if case.chance.random() < 0.5:
        # And were its grant altered to say so: an agent is never an approver.
        code = "human_only"
        roles = ["approver", "platform_admin"]
        world.alter_grant("dora", roles=roles, ceiling=roles)
    case.refused(code, lambda: world.answer(case.run, by=world.caller("dora")))
    seed = load_seed(approving.key_path("dora"), APPROVER_PASSPHRASE)
    world.forge(case.run, seed=seed, decided_by="dora")


def grant_revoked_since(case: Case) -> None:
    case.world.answer(case.run)
    case.world.alter_grant(APPROVER, revoked_at=instant(case.world.clock.now()))


def grant_over_since(case: Case) -> None:
    case.world.answer(case.run)
    case.world.clock.advance(timedelta(minutes=case.chance.randint(1, 60)))
    case.world.alter_grant(APPROVER, expires_at=instant(case.world.clock.now()))


def tenant_lost_since(case: Case) -> None:
    case.world.answer(case.run)
    left = case.chance.choice(([OTHER], [], [f"{TENANT}-2"], [TENANT[:-1]]))
    case.world.alter_grant(APPROVER, tenants=left)


def role_lost_since(case: Case) -> None:
    case.world.answer(case.run)
    lesser = ["viewer", "support", "operator", "billing", "auditor"]
    kept = case.chance.sample(lesser, case.chance.randint(0, len(lesser)))
    altered = case.chance.choice(({"roles": kept}, {"ceiling": kept}))
    case.world.alter_grant(APPROVER, **altered)


# time, use, policy -----------------------------------------------------------------------------------


def expired(case: Case) -> None:
    case.world.answer(case.run)
    case.world.clock.advance(timedelta(hours=24, seconds=case.chance.randrange(100_000)))


def answered_too_late(case: Case) -> None:
    case.world.clock.advance(timedelta(hours=24, seconds=case.chance.randrange(100_000)))
    case.refused("approval_expired", lambda: case.world.answer(case.run))


def consumed_already(case: Case) -> None:
    state = case.chance.choice(("consumed", "void", "rejected", "revoked", "superseded", "expired"))
    case.sign(state=state)


def other_bundle(case: Case) -> None:
    case.world.answer(case.run)


def denied_then_approved(case: Case) -> None:
    case.world.answer(case.run, "deny")
    case.refused("not_pending", lambda: case.world.answer(case.run))


def wrong_confirmation(case: Case) -> None:
    right = case.run.plan_digest[:8]
    typed = case.chance.choice(
        (case.flipped(right), "", right[:7], right + "0", right.upper() + " ", case.run.plan_digest)
    )
    assert typed != right
    case.refused("not_confirmed", lambda: case.world.answer(case.run, confirm=typed))


def wrong_passphrase(case: Case) -> None:
    secret = bytearray(APPROVER_PASSPHRASE)
    secret[case.chance.randrange(len(secret))] ^= 1 << case.chance.randrange(7)
    with pytest.raises(KeyFileError):
        case.world.answer(case.run, passphrase=bytes(secret))


def another_plan_is_shown(case: Case) -> None:
    plan: Any = case.run.plan
    field = case.chance.choice(PLAN_FIELDS)
    case.world.alter_run(case.run, plan={**plan, field: changed(case.chance, plan[field])})
    case.refused("plan_altered", lambda: case.world.answer(case.run))
    approving, approver = case.world.approving, case.world.caller(APPROVER)
    approval_id = str(case.run.approval_id)
    case.refused("plan_altered", lambda: approving.show(approver, approval_id))
    assert approving.pending(approver) == []


# In each, what the worker then says; None where the question simply stays open.
WRONG: dict[str, tuple[Wrong, set[str] | None]] = {
    "the digest is of another plan": (digest_of_another_plan, {"approval_void"}),
    "the digest is of another plan in both rows": (
        digest_of_another_plan_on_run_and_approval,
        {"digest_changed"},
    ),
    "the signature has a flipped bit": (signature_flipped, {"approval_void"}),
    "the signature has no form": (signature_malformed, {"approval_void"}),
    "the signature is another approval's": (signature_of_another_approval, {"approval_void"}),
    "the signature is under a no": (signed_no, {"approval_void"}),
    "a field was altered after signing": (altered_after_signing, {"approval_void"}),
    "it is for another run": (another_run, {"approval_void"}),
    "the key is not enrolled": (key_not_enrolled, {"approval_void"}),
    "the key is not the one named": (key_named_wrongly, {"approval_void"}),
    "the approver was revoked": (approver_revoked, {"approval_void"}),
    "the enrolment is forged": (enrolment_forged, {"approval_void"}),
    "the enrolment leads nowhere": (enrolment_in_a_circle, {"approval_void"}),
    "the key is another person's": (another_persons_key, {"approval_void"}),
    "the requester approves": (requester_alone, {"approval_void"}),
    "the requester approves in disguise": (requester_disguised, {"approval_void"}),
    "an agent approves": (agent_approves, {"approval_void"}),
    "the approver's grant was revoked": (grant_revoked_since, {"approval_void"}),
    "the approver's grant is over": (grant_over_since, {"approval_void"}),
    "the approver's grant lost the tenant": (tenant_lost_since, {"approval_void"}),
    "the approver's grant lost the role": (role_lost_since, {"approval_void"}),
    "it has expired": (expired, {"expired"}),
    "it was answered too late": (answered_too_late, {"expired"}),
    "it was used already": (consumed_already, {"denied", "expired"}),
    "it was denied before": (denied_then_approved, {"denied"}),
    "the digits are wrong": (wrong_confirmation, None),
    "the passphrase is wrong": (wrong_passphrase, None),
    "another plan is shown": (another_plan_is_shown, None),
}
