"""What the reference must say, read from the code: rows of its tables. Not the prose around them."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import typer.main
import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from sqlalchemy.exc import DBAPIError

from control_plane.databases.faults import fault
from control_plane.domain.run import DiscardReason
from server.cli.app import app
from server.settings import Limits, Settings
from server.tokens import Reason, Unauthenticated
from tools.spec import ToolSpec

_ROOMS = ("control_plane", "graphs", "policies", "server", "tools")
_SQLITE_CODES_MAX = 256
_POLICY_CODE = re.compile(r'"code": "([a-z_]+)"')

Row = tuple[str, ...]


# tools ---------------------------------------------------------------------------------------


def argument_rows(tool: ToolSpec) -> list[Row]:
    """(argument, type, default, limit) of each argument of a tool."""
    schema = tool.input_schema()
    required = schema.get("required", [])
    return [
        (
            f"`{name}`",
            _type(field),
            "required" if name in required else f"`{json.dumps(field.get('default'))}`",
            _limit(field),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def result_rows(tool: ToolSpec) -> list[Row]:
    """(field, type) of each field of a tool's result."""
    fields = tool.result.model_json_schema()["properties"]
    return [(f"`{name}`", _type(field)) for name, field in fields.items()]


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}s"
    return str(field.get("type", "object"))


def _limit(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return ", ".join(filter(None, (_limit(one) for one in field["anyOf"])))
    found: list[str] = []
    if "enum" in field:
        found.append(", ".join(f"`{one}`" for one in field["enum"]))
    if "pattern" in field:
        found.append(f"`{field['pattern']}`")
    if "minimum" in field:
        found.append(f"{field['minimum']} to {field['maximum']}")
    if "minLength" in field:
        found.append(f"{field['minLength']} to {field['maxLength']} characters")
    elif "maxLength" in field:
        found.append(f"at most {field['maxLength']} characters")
    if "minProperties" in field:
        found.append(f"{field['minProperties']} to {field['maxProperties']} entries")
    elif "maxProperties" in field:
        found.append(f"at most {field['maxProperties']} entries")
    if "maxItems" in field:
        found.append(f"at most {field['maxItems']} items")
    return ", ".join(found)


# settings ------------------------------------------------------------------------------------


def setting_rows() -> list[Row]:
    """(variable, meaning) of each setting but the limits."""
    return [
        (f"`{field.validation_alias or 'PAYBILL_' + name.upper()}`", str(field.description))
        for name, field in Settings.model_fields.items()
        if name != "limits"
    ]


def limit_rows() -> list[Row]:
    """(variable, default, bound, meaning) of each limit."""
    return [
        (
            f"`PAYBILL_LIMITS__{name.upper()}`",
            f"{field.default:g}" if isinstance(field.default, float) else str(field.default),
            _bound(field.metadata),
            str(field.description),
        )
        for name, field in Limits.model_fields.items()
    ]


def _bound(metadata: list[Any]) -> str:
    words = {"gt": "above {}", "ge": "{}", "le": "to {}"}
    return " ".join(
        words[name].format(value)
        for one in metadata
        for name in ("gt", "ge", "le")
        if (value := getattr(one, name, None)) is not None
    )


# commands ------------------------------------------------------------------------------------


def commands() -> dict[str, list[Row]]:
    """By the words of each command: (option, default) of its options and arguments."""
    found: dict[str, list[Row]] = {}
    waiting: list[tuple[str, Any]] = [("paybill", typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop(0)
        below = getattr(command, "commands", {})
        waiting.extend((f"{words} {name}", one) for name, one in below.items())
        if command.params or not below:
            found[words] = [_parameter(one) for one in command.params]
    return found


def _parameter(parameter: Any) -> Row:
    named = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
    return " ".join(f"`{one}`" for one in named), _default(parameter)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default in (None, False):
        return "none" if parameter.default is None else "off"
    return f"`{parameter.default}`"


# codes ---------------------------------------------------------------------------------------


def error_codes(root: Path) -> set[str]:
    """Every code that an error or outcome of ours can carry."""
    found = {code for path in _sources(root) for code in _codes_in(ast.parse(path.read_text()))}
    for path in (root / "policies" / "cerbos").glob("*.yaml"):
        found.update(_POLICY_CODE.findall(path.read_text()))
    found.update(get_args(Reason), get_args(DiscardReason))
    found.update(Unauthenticated(reason).told for reason in get_args(Reason))
    found.update(_database_codes())
    return found


def _database_codes() -> set[str]:
    # The one place that puts a code together: asked about every code that SQLite may give.
    found: set[str] = set()
    for number in range(_SQLITE_CODES_MAX):
        error = sqlite3.OperationalError()
        error.sqlite_errorcode = number
        found.add(fault(DBAPIError("", None, error)).code)
    return found


def _sources(root: Path) -> Iterator[Path]:
    for room in _ROOMS:
        yield from (one for one in (root / room).rglob("*.py") if "demo" not in one.parts)


def _codes_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = [one.value for one in node.keywords if one.arg == "code"]
            if isinstance(node.func, ast.Name) and node.func.id in ("Reason", "Unauthenticated"):
                named += node.args[:1]
            for value in named:
                if not isinstance(value, ast.JoinedStr):
                    yield from _texts(value)
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and _names(statement) == ["code"]:
                    yield from _texts(statement.value)


def _names(statement: ast.Assign) -> list[str]:
    return [one.id for one in statement.targets if isinstance(one, ast.Name)]


def _texts(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# policies ------------------------------------------------------------------------------------


def policy_rules(root: Path) -> dict[str, list[Row]]:
    """By kind: (rule, effect, actions, roles, code) of each rule."""
    found: dict[str, list[Row]] = {}
    for path in sorted((root / "policies" / "cerbos").glob("*.yaml")):
        body = yaml.safe_load(path.read_text())["resourcePolicy"]
        found[body["resource"]] = [_rule(rule) for rule in body["rules"]]
    return found


def _rule(rule: Mapping[str, Any]) -> Row:
    code = _POLICY_CODE.search(json.dumps(rule.get("output", "")).replace('\\"', '"'))
    return (
        f"`{rule['name']}`",
        "allow" if rule["effect"] == "EFFECT_ALLOW" else "deny",
        ", ".join(f"`{one}`" for one in rule["actions"]),
        "all" if rule["roles"] == ["*"] else ", ".join(f"`{one}`" for one in rule["roles"]),
        f"`{code[1]}`" if code else "",
    )


def attributes(root: Path, schema: str) -> list[str]:
    """The attributes of a schema, sorted."""
    path = root / "policies" / "cerbos" / "_schemas" / f"{schema}.json"
    return sorted(json.loads(path.read_text())["properties"])


# models --------------------------------------------------------------------------------------


def field_rows(model: type[BaseModel]) -> list[Row]:
    """(field, default) of each field of a declaration."""
    return [
        (f"`{name}`", "required" if field.is_required() else f"`{_shown(field.default)}`")
        for name, field in model.model_fields.items()
    ]


def _shown(default: object) -> str:
    if isinstance(default, BaseModel):
        # What a default leaves out is told in a table of its own.
        return default.model_dump_json(exclude_defaults=True)
    return json.dumps(to_jsonable_python(default))
