"""The policy's schemas, generated from the fact classes. Not read at run time: the files stand in the policies room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from control_plane.domain.canonical import Json
from control_plane.facts.approval import ApprovalFacts
from control_plane.facts.audit_leaf import AuditLeafFacts
from control_plane.facts.base import Facts
from control_plane.facts.catalog import CatalogFacts
from control_plane.facts.connection import ConnectionFacts
from control_plane.facts.database import DatabaseFacts
from control_plane.facts.entitlement import EntitlementFacts
from control_plane.facts.fleet import FleetFacts
from control_plane.facts.freeze import FreezeFacts
from control_plane.facts.invoice import InvoiceFacts
from control_plane.facts.record import RecordFacts
from control_plane.facts.run import RunFacts
from control_plane.facts.seat import SeatFacts
from control_plane.facts.subscription import SubscriptionFacts
from control_plane.facts.tenant import TenantFacts
from control_plane.facts.tool import ToolFacts
from control_plane.facts.usage import UsageFacts
from control_plane.facts.workspace import WorkspaceFacts

FACT_CLASSES: tuple[type[Facts], ...] = (
    ApprovalFacts,
    AuditLeafFacts,
    CatalogFacts,
    ConnectionFacts,
    DatabaseFacts,
    EntitlementFacts,
    FleetFacts,
    FreezeFacts,
    InvoiceFacts,
    RecordFacts,
    RunFacts,
    SeatFacts,
    SubscriptionFacts,
    TenantFacts,
    ToolFacts,
    UsageFacts,
    WorkspaceFacts,
)
_NOTES = frozenset({"title", "default", "description"})


def policy_schema(facts: type[Facts]) -> dict[str, Any]:
    """JSON Schema of a kind's attributes: closed, every one required, none with a default.

    A default would let a request leave a fact out, and a condition over it err.
    """
    made = facts.model_json_schema()
    properties: dict[str, Any] = made["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": sorted(properties),
        "properties": {name: _bare(properties[name]) for name in sorted(properties)},
    }


def schema_text(facts: type[Facts]) -> str:
    """The file's text."""
    return json.dumps(policy_schema(facts), indent=2) + "\n"


def _bare(schema: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: _bare(value) if isinstance(value, Mapping) else value
        for name, value in schema.items()
        if name not in _NOTES
    }
