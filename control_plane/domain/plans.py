"""The plans that a workspace offers, read from its catalog. Not a tenant's subscription."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from control_plane.domain import canonical
from control_plane.domain.charge import (
    PLAN,
    SEATS,
    Charge,
    Charges,
    Interval,
    Slug,
    components,
)
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.entitlement import Entitlements, meters
from control_plane.domain.isolation import Cloud, Isolation, Size
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.plan_fault import fault
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.domain.subscription import TrialEnd
from control_plane.errors import BadInput, NotFound

PlanName: TypeAlias = Slug
Region: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Direction: TypeAlias = Literal["upgrade", "downgrade", "same"]
ProrationMode: TypeAlias = Literal["second", "day"]

_OFFERS_MAX = 200
_ADD_ONS_MAX = 100
_TERM_MAX = 1_200  # a century of months


def _sorted_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("each value stands only once")
    return tuple(sorted(values))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quotas(_Strict):
    """What a tenant on the plan may hold at most."""

    records_max: int = Field(ge=1, le=MINOR_MAX, description="Records of the tenant.")
    seats_max: int = Field(ge=1, le=MINOR_MAX, description="Seats of the tenant.")


class BackupTerms(_Strict):
    """How a tenant's database is backed up while it is in service."""

    every_days: int | None = Field(
        default=None,
        ge=1,
        le=365,
        description="How often it is backed up by itself; without it, only when asked for.",
    )
    keep_days: int = Field(default=30, ge=1, le=3_650, description="How long a backup is kept.")


class Trial(_Strict):
    """The days before a first subscription is billed. `at_trial_end` holds where no method is there."""

    days: int = Field(ge=1, le=730, description="How long it is.")
    method_required: bool = Field(
        default=False, description="Whether it begins only with a payment method."
    )
    at_trial_end: TrialEnd = Field(
        default="pause", description="What becomes of a subscription without a payment method."
    )


class AddOn(_Strict):
    """What may be had beside a plan. A charge with its name says what it costs; without one, nothing."""

    name: Slug = Field(description="What a charge and a subscription name.")
    title: str = Field(min_length=1, max_length=80, description="For people.")
    description: str = Field(default="", max_length=500, description="For people.")
    quantity_max: int = Field(
        default=1, ge=1, le=MINOR_MAX, description="How many one subscription may have."
    )
    entitlements: Entitlements = Field(
        default=(), description="What each of it grants beside the plan's."
    )


def _each_add_on_once(add_ons: tuple[AddOn, ...]) -> tuple[AddOn, ...]:
    if len({one.name for one in add_ons}) != len(add_ons):
        raise ValueError("each name stands only once")
    return tuple(sorted(add_ons, key=lambda one: one.name))


AddOns: TypeAlias = Annotated[
    tuple[AddOn, ...], Field(max_length=_ADD_ONS_MAX), AfterValidator(_each_add_on_once)
]


def _meters(granted: Entitlements, add_ons: AddOns) -> frozenset[str]:
    return meters(granted).union(*(meters(one.entitlements) for one in add_ons))


class PlanOffer(_Strict):
    """One version of a plan. `rank` alone orders plans: a higher one is an upgrade.

    Lists whose order says nothing are kept sorted: two offers that say the same are equal.
    """

    name: PlanName = Field(description="What `tenant_onboard` names.")
    version: int = Field(
        ge=1, description="Versions of one name may stand side by side; the newest is offered."
    )
    rank: int = Field(ge=0, le=10_000, description="Orders plans: a higher one is an upgrade.")
    tier: PlanName = Field(description="The licence tier.")
    title: str = Field(min_length=1, max_length=80, description="For people.")
    description: str = Field(default="", max_length=500, description="For people.")
    isolations: Annotated[
        tuple[Isolation, ...], Field(min_length=1, max_length=3), AfterValidator(_sorted_once)
    ] = Field(description="The isolation models that a tenant may live in.")
    regions: Annotated[
        tuple[Region, ...], Field(min_length=1, max_length=100), AfterValidator(_sorted_once)
    ] = Field(description="The regions that a tenant may live in.")
    clouds: Annotated[
        tuple[Cloud, ...], Field(min_length=1, max_length=6), AfterValidator(_sorted_once)
    ] = Field(default=("local",), description="The clouds that a tenant may live in.")
    size: Size = Field(default="small", description="How large a stack of its own is made.")
    quotas: Quotas = Field(description="What a tenant may hold at most.")
    backups: BackupTerms = Field(
        default=BackupTerms(), description="How it is backed up; what is left out is as here."
    )
    entitlements: Entitlements = Field(default=(), description="What is granted.")
    add_ons: AddOns = Field(default=(), description="What may be had beside it.")
    charges: Charges = Field(default=(), description="What it costs; without any, nothing.")
    trial: Trial | None = Field(default=None, description="The trial; without it there is none.")
    proration: ProrationMode = Field(
        default="second", description="What a part of a period is measured by."
    )
    dunning: DunningPolicy = Field(
        default=DunningPolicy(), description="What becomes of debts; what is left out is as here."
    )
    pausable: bool = Field(default=False, description="Whether a subscription may be paused.")
    term_intervals: int | None = Field(
        default=None,
        ge=1,
        le=_TERM_MAX,
        description="After how many intervals a subscription ends; without it, it goes on.",
    )

    @field_validator("add_ons")
    @classmethod
    def _named_apart(cls, add_ons: AddOns, info: ValidationInfo) -> AddOns:
        taken = {PLAN, SEATS} | _meters(info.data.get("entitlements", ()), add_ons)
        if any(one.name in taken for one in add_ons):
            raise ValueError("an add-on is not called plan, seats, or like a meter")
        return add_ons

    @field_validator("charges")
    @classmethod
    def _of_its_components(cls, charges: Charges, info: ValidationInfo) -> Charges:
        # Else another mistake would be told twice.
        if {"entitlements", "add_ons"} <= info.data.keys():
            add_ons: AddOns = info.data["add_ons"]
            known = {PLAN, SEATS} | _meters(info.data["entitlements"], add_ons)
            if not {*components(charges)} <= known | {one.name for one in add_ons}:
                raise ValueError("a component is plan, seats, a meter or an add-on of the plan")
        return charges

    @property
    def priced(self) -> bool:
        """Whether being on it may cost anything: add-ons, which are taken on their own, aside."""
        add_ons = {one.name for one in self.add_ons}
        return any(not one.free for one in self.charges if one.component not in add_ons)

    def charge(self, component: str, interval: Interval) -> Charge | None:
        """What a component costs in each interval; None where it costs nothing."""
        asked = (component, interval)
        return next((one for one in self.charges if (one.component, one.interval) == asked), None)

    def declared(self) -> dict[str, canonical.Json]:
        """The offer as a file would say it: without what is as by default."""
        return self.model_dump(mode="json", exclude_defaults=True)


class PlanCatalog(_Strict):
    """Every offer, in the order of the file; at least one."""

    plans: tuple[PlanOffer, ...] = Field(
        min_length=1, max_length=_OFFERS_MAX, description="Every version of every plan."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        seen: set[tuple[str, int]] = set()
        ranks: dict[int, str] = {}
        for offer in self.plans:
            if (offer.name, offer.version) in seen:
                raise ValueError("a name and version stand only once")
            seen.add((offer.name, offer.version))
            if ranks.setdefault(offer.rank, offer.name) != offer.name:
                raise ValueError("two plans never share a rank")
        return self

    def offer(self, name: str, version: int | None = None) -> PlanOffer:
        """The plan of that name and version, or its newest version; NotFound."""
        found = [
            o for o in self.plans if o.name == name and (version is None or o.version == version)
        ]
        if not found:
            raise NotFound("there is no such plan", code="plan_not_found")
        return max(found, key=lambda offer: offer.version)

    def edits(self, offer: PlanOffer) -> bool:
        """Whether `offer` says otherwise than the version here that has its name and number.

        A version that somebody may have subscribed to is never edited: another one is added.
        """
        named = (offer.name, offer.version)
        return any((one.name, one.version) == named and one != offer for one in self.plans)

    def digest(self) -> str:
        """SHA-256 of the canonical catalog; the order in the file does not count."""
        ordered = sorted(self.plans, key=lambda offer: (offer.name, offer.version))
        return canonical.digest({"plans": ordered})


def direction(current: PlanOffer, proposed: PlanOffer) -> Direction:
    """Which way a change goes, by rank alone: never by price."""
    if proposed.rank == current.rank:
        return "same"
    return "upgrade" if proposed.rank > current.rank else "downgrade"


def parse_plans(yaml_text: str, file_name: str) -> PlanCatalog:
    """The catalog in `yaml_text`. BadInput names the file, the first wrong field and its rule."""
    plain = parse_yaml(yaml_text, file_name)
    try:
        # As JSON, strict still lets a list be a tuple and nothing else.
        return PlanCatalog.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        path, rule = fault(plain, error.errors(include_url=False)[0])
        raise BadInput(f"{file_name}: {_told(path)}", rule) from None


def _told(path: Iterable[int | str]) -> str:
    told = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return told.removeprefix(".") or "catalog"
