"""Strict parsing of an agent's arguments. An error names field and rule, never the value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError

from control_plane.domain.canonical import Json
from control_plane.errors import BadInput
from tools.spec import Arguments, ToolSpec


def parse_arguments(
    tool: ToolSpec, raw: Mapping[str, Any], written: str | None = None
) -> Arguments:
    """The parsed arguments; BadInput names the first field that breaks a rule, by its path.

    ``written`` is ``raw`` as JSON, where a caller has it already.
    """
    try:
        # As JSON: strict then takes a JSON list for a tuple, and nothing else for anything else.
        text = json.dumps(raw, allow_nan=False) if written is None else written
        parsed = tool.arguments.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=True)[0]
        raise BadInput(_field(first["loc"]), _rule(first["type"], first.get("ctx", {}))) from None
    except (TypeError, ValueError, RecursionError):
        raise BadInput("arguments", "must be plain JSON") from None
    _require_exact(raw)
    return parsed


def _require_exact(raw: Mapping[str, Any]) -> None:
    """Refuse fractions wherever a field takes any value: no quantity of ours is one, and none has a digest."""
    if not _has_fraction(raw):
        return
    waiting: list[tuple[tuple[int | str, ...], Json]] = [((name,), raw[name]) for name in raw]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, float):
            raise BadInput(_field(path), "must not be a number with a fraction")
        if isinstance(value, Mapping):
            waiting.extend(((*path, name), item) for name, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, place), item) for place, item in enumerate(value))


def _has_fraction(raw: Mapping[str, Any]) -> bool:
    # Level by level and without paths: of nearly every input this is all that is asked.
    level: list[Json] = list(raw.values())
    while level:
        kinds = set(map(type, level))
        if float in kinds or kinds.isdisjoint(_PARTED):
            return float in kinds
        inner = [one for one in level if isinstance(one, _PARTED)]
        level = list(
            chain.from_iterable(one.values() if isinstance(one, dict) else one for one in inner)
        )
    return False


def _field(location: tuple[int | str, ...]) -> str:
    # The name of an unknown argument is the caller's own text: cut it, and show it plainly.
    return (
        ".".join(str(part)[:60].encode("ascii", "replace").decode() for part in location)
        or "arguments"
    )


def _rule(kind: str, context: Mapping[str, Any]) -> str:
    told = {name: value for name, value in context.items() if name in _TELLABLE}
    words = _RULES.get(kind, kind.replace("_", " "))
    if not told:
        return words
    return f"{words} ({', '.join(f'{name} {value}' for name, value in sorted(told.items()))})"


_PARTED = (dict, list)

# Only the parts of a rule that are ours; never anything that holds the input.
_TELLABLE = frozenset({"ge", "le", "gt", "lt", "min_length", "max_length", "pattern", "expected"})
_RULES = {
    "extra_forbidden": "is not an argument of this tool",
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "bool_type": "must be true or false",
    "string_pattern_mismatch": "must match the pattern",
    "literal_error": "must be one of the allowed values",
}
