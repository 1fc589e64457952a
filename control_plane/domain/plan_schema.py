"""The JSON Schema of `plans.yaml`, for editors. Not what reads it: that asks for more."""

from __future__ import annotations

from typing import Any

from control_plane.domain.editor_schema import DIALECT, editor_schema
from control_plane.domain.plans import PlanCatalog


def plan_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `plans.yaml`, as the YAML it is."""
    made = editor_schema(PlanCatalog.model_json_schema(mode="validation"))
    return {
        "$schema": DIALECT,
        "title": "The plans of Paybill",
        "description": "What tenants may subscribe to, in catalog/plans.yaml.",
        "type": "object",
        "additionalProperties": False,
        "required": made["required"],
        "properties": made["properties"],
        "$defs": made["$defs"],
    }
