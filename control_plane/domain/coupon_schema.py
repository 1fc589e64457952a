"""The JSON Schema of `coupons.yaml`, for editors. Not what reads it: that asks for more."""

from __future__ import annotations

from typing import Any

from control_plane.domain.coupon_catalog import CouponCatalog
from control_plane.domain.editor_schema import DIALECT, editor_schema


def coupon_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `coupons.yaml`, as the YAML it is."""
    made = editor_schema(CouponCatalog.model_json_schema(mode="validation"))
    return {
        "$schema": DIALECT,
        "title": "The coupons of Paybill",
        "description": "What customers may redeem, in catalog/coupons.yaml.",
        "type": "object",
        "additionalProperties": False,
        "properties": made["properties"],
        "$defs": made["$defs"],
    }
