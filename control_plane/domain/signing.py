"""What approvers sign, and whether signatures hold: enrolments up to the root key, approvals of a digest. No keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from control_plane.domain.approval_record import Approval, Approver
from control_plane.domain.canonical import canonical

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) → whether it holds."""

# An approver enrolled by an approver enrolled by … the root: a chain longer than this is refused.
_CHAIN_MAX = 16


def enrolment_message(principal: str, public_key: str, enrolled_at: str) -> bytes:
    """What the root key, or an approver in force, signs to enrol a key for a person."""
    return canonical(["paybill approver", principal, public_key, enrolled_at])


def approval_message(approval: Approval, answer: Literal["approve", "deny"]) -> bytes:
    """What an approver signs: this answer, and all that was asked, for exactly this digest.

    The answer is part of it: a signed no must never pass for a yes.
    """
    return canonical(
        [
            "paybill approval",
            answer,
            approval.id,
            approval.run_id,
            approval.tenant,
            approval.requester,
            approval.requester_actor,
            approval.rule,
            approval.plan_digest,
            approval.expires_at,
        ]
    )


def enrolled(
    approver: Approver, known: Mapping[str, Approver], root: tuple[str, bytes], verify: Verify
) -> bool:
    """Whether the enrolment leads to the root key by signatures that hold.

    ``root`` is the root key's id and its public key.
    """
    for _ in range(_CHAIN_MAX):
        message = enrolment_message(approver.principal, approver.public_key, approver.enrolled_at)
        signature = _hex(approver.signature)
        if approver.enrolled_by == root[0]:
            return verify(root[1], message, signature)
        above = known.get(approver.enrolled_by)
        if above is None or not verify(_hex(above.public_key), message, signature):
            return False
        if above.revoked_at is not None and above.revoked_at <= approver.enrolled_at:
            return False
        approver = above
    return False


def signed(
    approval: Approval, known: Mapping[str, Approver], root: tuple[str, bytes], verify: Verify
) -> bool:
    """Whether the approval carries a signed yes by a key that is enrolled and in force for its person."""
    approver = known.get(approval.key_id or "")
    if approver is None or approver.revoked_at is not None:
        return False
    if approver.principal != approval.decided_by or approval.signature is None:
        return False
    message = approval_message(approval, "approve")
    if not verify(_hex(approver.public_key), message, _hex(approval.signature)):
        return False
    return enrolled(approver, known, root, verify)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
