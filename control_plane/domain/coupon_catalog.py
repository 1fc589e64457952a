"""The coupons that a workspace declares, read from its catalog. Not who has redeemed one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.domain.coupon import Coupon
from control_plane.domain.plan_fault import fault
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput, Refused

COUPONS_DECLARED_MAX = 1_000


class CouponCatalog(BaseModel):
    """Every coupon that may be redeemed, in the order of the file; without the file, none.

    What is declared is what may be redeemed from now on: a redemption keeps the coupon as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    coupons: tuple[Coupon, ...] = Field(
        default=(), max_length=COUPONS_DECLARED_MAX, description="Every coupon."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({one.code for one in self.coupons}) != len(self.coupons):
            raise ValueError("a code stands only once")
        return self

    def coupon(self, code: str) -> Coupon:
        """The coupon of that code; Refused (`coupon_not_found`)."""
        for one in self.coupons:
            if one.code == code:
                return one
        raise Refused(
            "There is no such coupon.",
            code="coupon_not_found",
            rule="catalog.coupons",
            fact="coupon",
        )


NO_COUPONS = CouponCatalog()


def parse_coupons(yaml_text: str, file_name: str) -> CouponCatalog:
    """The coupons in `yaml_text`. BadInput names the file, the first wrong field and its rule."""
    plain = parse_yaml(yaml_text, file_name)
    try:
        # As JSON, strict still lets a list be a tuple and nothing else.
        return CouponCatalog.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        path, rule = fault(plain, error.errors(include_url=False)[0])
        raise BadInput(f"{file_name}: {_told(path)}", rule) from None


def require_plans(catalog: CouponCatalog, plans: Iterable[str], file_name: str) -> None:
    """BadInput where a coupon is for a plan that is not among the names in `plans`."""
    known = frozenset(plans)
    for place, one in enumerate(catalog.coupons):
        if not known.issuperset(one.plans):
            raise BadInput(f"{file_name}: coupons[{place}].plans", PLAN_UNKNOWN)


PLAN_UNKNOWN = "must be plans that plans.yaml declares"


def _told(path: Iterable[int | str]) -> str:
    told = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return told.removeprefix(".") or "coupons"
