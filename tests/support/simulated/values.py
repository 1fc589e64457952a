"""The values of resources: on the wire, as planned and as made. Not the messages around them.

A value is what JSON knows, or UNKNOWN where the provider chooses later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import ormsgpack

from tests.support.simulated.schema import Block

Value: TypeAlias = Any
Visit: TypeAlias = Callable[[str, dict[str, Any], Value], Value]


class _Unknown:
    """Stands for a value that is known after the apply."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


def encode(value: Value) -> bytes:
    """A value as MessagePack; the unknown is extension 0."""
    return ormsgpack.packb(value, default=lambda _unknown: ormsgpack.Ext(0, b"\0"))


def decode(raw: bytes) -> Value:
    """A value out of MessagePack; whatever an extension says of it, it is unknown."""
    return ormsgpack.unpackb(raw, ext_hook=lambda _tag, _content: UNKNOWN)


def walked(block: Block, value: Value, visit: Visit) -> Value:
    """`value` with every attribute of `block` and of the blocks in it put through `visit`.

    A missing attribute is null, a missing list of blocks is empty.
    """
    if value is None or value is UNKNOWN:
        return value
    attributes = {
        name: _attribute(name, one, value.get(name), visit)
        for name, one in block.get("attributes", {}).items()
    }
    blocks = {
        name: _nested(one["nesting_mode"], one["block"], value.get(name), visit)
        for name, one in block.get("block_types", {}).items()
    }
    return attributes | blocks


def _attribute(name: str, attribute: dict[str, Any], value: Value, visit: Visit) -> Value:
    value = visit(name, attribute, value)
    if (inner := attribute.get("nested_type")) is None or value is None:
        return value
    return _nested(inner["nesting_mode"], {"attributes": inner["attributes"]}, value, visit)


def _nested(mode: str, block: Block, value: Value, visit: Visit) -> Value:
    if value is UNKNOWN or mode in {"single", "group"}:
        return walked(block, value, visit)
    if mode == "map":
        keyed: dict[str, Value] = value or {}
        return {key: walked(block, one, visit) for key, one in keyed.items()}
    listed: list[Value] = value or []
    return [walked(block, one, visit) for one in listed]


def with_unknowns(block: Block, proposed: Value) -> Value:
    """What a change is planned to end in: what the provider chooses is unknown, what it must not
    keep is null.
    """

    def visit(_name: str, attribute: dict[str, Any], value: Value) -> Value:
        if attribute.get("write_only"):
            return None
        return UNKNOWN if value is None and attribute.get("computed") else value

    return walked(block, proposed, visit)


def without_write_only(block: Block, value: Value) -> Value:
    """The same value with null for whatever must not be kept."""
    return walked(block, value, lambda _name, one, kept: None if one.get("write_only") else kept)


def made(type_name: str, block: Block, planned: Value) -> Value:
    """`planned` with a value for each unknown: the same inputs make the same values."""
    inputs = json.dumps([type_name, planned], sort_keys=True, default=repr)
    mark = hashlib.sha256(inputs.encode()).hexdigest()[:12]

    def visit(name: str, attribute: dict[str, Any], value: Value) -> Value:
        if value is not UNKNOWN:
            return value
        if (inner := attribute.get("nested_type")) is not None:
            kind = ["object", {key: one["type"] for key, one in inner["attributes"].items()}]
            mode = inner["nesting_mode"]
            return _chosen(kind if mode == "single" else [mode, kind], name, mark)
        return _chosen(attribute["type"], name, mark)

    return walked(block, planned, visit)


def _chosen(kind: Any, name: str, mark: str) -> Value:
    """Some value of a type; a list or a set has one element, so that it can be pointed at."""
    if kind == "string":
        return f"sim-{name}-{mark}"
    if kind == "dynamic":
        return [b'"string"', f"sim-{name}-{mark}"]
    if isinstance(kind, str):
        return int(mark[:4], 16) if kind == "number" else False
    mode, inner = kind
    if mode == "object":
        return {key: _chosen(one, key, mark) for key, one in inner.items()}
    if mode == "tuple":
        return [_chosen(one, name, mark) for one in inner]
    return {} if mode == "map" else [_chosen(inner, name, mark)]


def from_json(block: Block, text: bytes) -> Value:
    """A value as Terraform keeps it in a state file."""

    def visit(_name: str, attribute: dict[str, Any], value: Value) -> Value:
        if attribute.get("type") != "dynamic" or value is None:
            return value
        return [json.dumps(value["type"]).encode(), value["value"]]

    return walked(block, json.loads(text), visit)
