"""What the SaaS's own door offers, as an OpenAPI 3.1 document made of the tools' schemas. Answers no request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from server.integration import ROUTES, Route
from tools.registry import TOOLS
from tools.spec import ToolSpec

PATH: Final = "/v1/openapi.json"
_SCHEMAS: Final = "#/components/schemas/"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
# What each status means, whatever the tool; those of the first kind have the tool's own answer.
_ANSWERS: Final = {
    "200": "Done.",
    "202": "It goes on as a run, or waits for a human's approval.",
    "403": "The rules say no, or the token lists no such tool.",
    "404": "There is no such object, or the caller may not know that it is there.",
    "409": "Another run holds the tenant.",
    "429": "Too many requests of this caller are under way. Ask again after Retry-After.",
    "500": "It failed.",
    "503": "A part that the call needs does not answer. Ask again after Retry-After.",
}
_ERRORS: Final = {
    "400": "The request is not well formed.",
    "401": "There is no token, or it does not hold.",
    "413": "The body is too large.",
}
_ALSO_ERROR: Final = frozenset({"403", "429", "503"})
_CHANGES: Final = frozenset({"202", "409"})
_WAITS: Final = frozenset({"429", "503"})


@cache
def openapi() -> bytes:
    """The document in JSON; always the same bytes for the same program."""
    schemas: dict[str, Any] = {"Error": _error(), "BadInput": _bad_input()}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Paybill integration API",
            "version": "1",
            "description": "How a product tells what its tenants use, and asks what they may use.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return (json.dumps(told, indent=2) + "\n").encode()


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    tool = TOOLS[route.tool]
    answered = _hoisted(f"{tool.name}.Answer", tool.output_schema(), schemas)
    asked = tool.input_schema()
    told: dict[str, Any] = {
        "operationId": tool.name,
        "summary": tool.title,
        "description": tool.description,
        "responses": _responses(answered, changing=tool.changing),
    }
    if route.method == "POST":
        named = _IN_PATH.findall(route.path)
        told["parameters"] = [*(_parameter(route, asked, name) for name in named), _key(asked)]
        asked = _without(asked, named)
        told["requestBody"] = {"required": True, "content": _json(_body(tool, asked, schemas))}
    else:
        told["parameters"] = [
            _parameter(route, asked, name) for name in sorted(asked["properties"])
        ]
    return told


def _without(asked: Mapping[str, Any], named: list[str]) -> dict[str, Any]:
    # What stands in the path is no part of the body.
    left = {name: one for name, one in asked["properties"].items() if name not in named}
    required = [name for name in asked["required"] if name not in named]
    return {**asked, "properties": left, "required": required}


def _body(tool: ToolSpec, asked: Mapping[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    # What is asked for has a name of its own: over this door the key may be left out.
    required = [name for name in asked["required"] if name != "idempotency_key"]
    return _hoisted(f"{tool.name}.Request", {**asked, "required": required}, schemas)


def _key(asked: Mapping[str, Any]) -> dict[str, Any]:
    described = asked["properties"]["idempotency_key"]
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same as idempotency_key in the body; one of both, or none.",
        "schema": {"type": "string", "pattern": described["pattern"]},
    }


def _parameter(route: Route, asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    in_path = name in _IN_PATH.findall(route.path)
    schema = {key: value for key, value in asked["properties"][name].items() if key != "title"}
    described = schema.pop("description", "")
    return {
        "name": name,
        "in": "path" if in_path else "query",
        "required": in_path,
        **({"description": described} if described else {}),
        "schema": schema,
    }


def _responses(answered: Mapping[str, Any], *, changing: bool) -> dict[str, Any]:
    error = {"$ref": f"{_SCHEMAS}Error"}
    told: dict[str, Any] = {}
    for status, meaning in _ANSWERS.items():
        if status in _CHANGES and not changing:
            continue
        schema = {"anyOf": [answered, error]} if status in _ALSO_ERROR else answered
        told[status] = {"description": meaning, "content": _json(schema)}
        if status in _WAITS:
            told[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    for status, meaning in _ERRORS.items():
        told[status] = {"description": meaning, "content": _json(error)}
    bad = {"$ref": f"{_SCHEMAS}BadInput"}
    told["422"] = {"description": "A field breaks a rule.", "content": _json(bad)}
    return dict(sorted(told.items()))


def _hoisted(name: str, schema: Mapping[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Put a schema and its parts among the document's, and name it."""
    own = {key: value for key, value in schema.items() if key != "$defs"}
    stem = name.partition(".")[0]
    for part, inner in schema.get("$defs", {}).items():
        schemas[f"{stem}.{part}"] = _relinked(inner, stem)
    schemas[name] = _relinked(own, stem)
    return {"$ref": f"{_SCHEMAS}{name}"}


def _relinked(value: Any, stem: str) -> Any:
    if isinstance(value, list):
        members = cast("list[object]", value)
        return [_relinked(one, stem) for one in members]
    if not isinstance(value, dict):
        return value
    return {
        key: one.replace("#/$defs/", f"{_SCHEMAS}{stem}.")
        if key == "$ref"
        else _relinked(one, stem)
        for key, one in cast("dict[str, Any]", value).items()
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
        "additionalProperties": False,
    }


def _bad_input() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {"error": {"const": "bad_input"}, "field": text, "rule": text},
        "required": ["error", "field", "rule"],
        "additionalProperties": False,
    }
