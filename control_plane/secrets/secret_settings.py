"""Where services' credentials are left, as the worker's user declares it. Holds a path or a program, never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput

_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class FolderPlace(_Strict):
    """A folder that nobody else may enter."""

    kind: Literal["folder"]
    path: Path

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("must be an absolute path")
        return path


class CommandPlace(_Strict):
    """A program that keeps them: the door to a secret manager of the user's own."""

    kind: Literal["command"]
    argv: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=32)]
    deadline_s: int = Field(default=10, ge=1, le=60)


PlaceSettings: TypeAlias = Annotated[FolderPlace | CommandPlace, Field(discriminator="kind")]
_PLACE: TypeAdapter[FolderPlace | CommandPlace] = TypeAdapter(PlaceSettings)


def parse_place(yaml_text: str, file_name: str) -> FolderPlace | CommandPlace:
    """The place in `yaml_text`. BadInput names the file, the field and its rule, never a value."""
    try:
        # As JSON, strict still lets a list be a tuple and a text a path.
        return _PLACE.validate_json(json.dumps(parse_yaml(yaml_text, file_name)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        told = first["msg"]
        if first["type"].startswith("union_tag"):
            told = "must be a kind that there is"
        raise BadInput(f"{file_name}: {path}", told) from None
