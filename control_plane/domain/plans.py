"""The plans that a workspace offers, read from its catalog. Not a tenant's subscription."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.domain import canonical
from control_plane.domain.isolation import Isolation
from control_plane.domain.money import MINOR_MAX, Currency, Money
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput, NotFound

PlanName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Region: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Interval: TypeAlias = Literal["month", "year"]
Direction: TypeAlias = Literal["upgrade", "downgrade", "same"]

_OFFERS_MAX = 200


def _sorted_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("each value stands only once")
    return tuple(sorted(values))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quotas(_Strict):
    """What a tenant on the plan may hold at most."""

    records_max: int = Field(ge=1, le=MINOR_MAX)
    seats_max: int = Field(ge=1, le=MINOR_MAX)


class PlanOffer(_Strict):
    """One version of a plan. `rank` alone orders plans: a higher one is an upgrade."""

    name: PlanName
    version: int = Field(ge=1)
    rank: int = Field(ge=0, le=10_000)
    tier: PlanName
    title: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=500)
    price_minor: int = Field(ge=0, le=MINOR_MAX)
    currency: Currency
    interval: Interval
    isolations: Annotated[
        tuple[Isolation, ...], Field(min_length=1, max_length=3), AfterValidator(_sorted_once)
    ]
    regions: Annotated[
        tuple[Region, ...], Field(min_length=1, max_length=100), AfterValidator(_sorted_once)
    ]
    quotas: Quotas

    @property
    def price(self) -> Money:
        """The price of one interval."""
        return Money(minor=self.price_minor, currency=self.currency)

    def allows(self, isolation: str, region: str) -> bool:
        """Whether a tenant on this plan may live so, and there."""
        return isolation in self.isolations and region in self.regions


class PlanCatalog(_Strict):
    """Every offer, in the order of the file; at least one."""

    plans: tuple[PlanOffer, ...] = Field(min_length=1, max_length=_OFFERS_MAX)

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
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadInput(f"{file_name}: {_path(first['loc'])}", first["msg"]) from None


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "catalog"
