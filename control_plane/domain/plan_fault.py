"""Where a plan's declaration breaks which rule: pydantic's error in the file's own words. Finds no fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.canonical import Json
from control_plane.domain.strict_yaml import Path

_TAGS = ("model", "kind")


def fault(value: Json, error: Mapping[str, Any]) -> tuple[Path, str]:
    """The path of what is wrong in `value`, as the file has it, and the rule; never what stands there.

    `error` is one of a ValidationError's, with its context. A path through one of several models
    has the model's name in it, which the file has not.
    """
    path = _without_tags(value, error["loc"])
    known: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "union_tag_invalid":
            return (*path, _bare(known)), f"must be one of {known['expected_tags']}"
        case "union_tag_not_found":
            return (*path, _bare(known)), "is required"
        case "value_error":
            return path, str(known["error"])
        case _:
            return path, str(error["msg"])


def _bare(known: Mapping[str, Any]) -> str:
    return str(known["discriminator"]).strip("'")


def _without_tags(value: Json, location: Sequence[int | str]) -> Path:
    path: list[int | str] = []
    here = value
    for part in location:
        if isinstance(here, Mapping):
            if part not in here and part in [here.get(tag) for tag in _TAGS]:
                continue
            path.append(part)
            here = here.get(str(part))
        else:
            path.append(part)
            here = _item(here, part)
    return tuple(path)


def _item(here: Json, part: int | str) -> Json:
    if isinstance(here, str) or not isinstance(here, Sequence) or not isinstance(part, int):
        return None
    return here[part] if part < len(here) else None
