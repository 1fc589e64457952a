"""A tenant's stack as it is kept: where it stands, what it holds, when it was looked at. Not the stack itself."""

from __future__ import annotations

from typing import Literal, TypeAlias

from control_plane.domain.canonical import Json
from control_plane.domain.isolation import Cloud, Isolation, Size
from control_plane.domain.record import Record

StackState: TypeAlias = Literal["stands", "drifted", "gone"]


class StackRecord(Record):
    """A tenant's stack as it is known here; what a cloud would say now is found by `drift_check`."""

    tenant: str
    cloud: Cloud
    isolation: Isolation
    region: str
    plan: str
    size: Size
    state: StackState
    run_id: str
    plan_digest: str
    resources: tuple[str, ...]
    outputs: dict[str, Json]
    monthly_cost_minor: int | None = None
    price_table: str | None = None
    applied_at: str
    checked_at: str | None = None
    drift: dict[str, Json] | None = None
