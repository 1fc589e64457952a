"""The facts of a subscription that policy decides on: how it stands, and what a move of it weighs. Not its lines."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from control_plane.domain.gate import GateLevel
from control_plane.facts.approvable import Approvable

Operation: TypeAlias = Literal[
    "",
    "change",
    "cancel",
    "pause",
    "resume",
    "retry_payment",
    "record_payment",
    "set_method",
    "set_details",
    "issue_credit",
]


class SubscriptionFacts(Approvable):
    """Kind ``subscription``. What a move weighs is known once it is planned, and zero before.

    ``amount_minor`` is what would be charged, credited or booked, in minor units of the terms'
    currency; ``ends_now`` says that rights end at once.
    """

    kind: ClassVar[str] = "subscription"
    own_writes: ClassVar[frozenset[str]] = Approvable.own_writes | {"amount_minor"}

    exists: bool
    member: bool
    state: str = ""
    plan: str = ""
    billing_level: GateLevel = "clear"
    operation: Operation = ""
    ends_now: bool = False
    amount_minor: int = 0
