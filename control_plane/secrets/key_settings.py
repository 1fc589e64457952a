"""Which keys wrap data keys, as the worker's user declares them. Holds paths and programs, never a key.

Like the accounts of clouds it is the worker's user's to say, never a workspace's: a folder that
somebody opens must not choose who can read backups.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput

_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_FORMER_MAX: Final = 16


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class FileKey(_Strict):
    """The workspace's own sealing key, which lies in a file of its state folder."""

    kind: Literal["file"]


class AgeKey(_Strict):
    """An age identity, in a file that only the worker's user may read."""

    kind: Literal["age"]
    identity: Path

    @field_validator("identity")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("must be an absolute path")
        return path


class CommandKey(_Strict):
    """A program that wraps and unwraps: the door to a key service of the user's own."""

    kind: Literal["command"]
    argv: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=32)]
    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:/._+@=-]{0,179}$")]
    deadline_s: int = Field(default=10, ge=1, le=60)


KeySource: TypeAlias = Annotated[FileKey | AgeKey | CommandKey, Field(discriminator="kind")]


class KeySettings(_Strict):
    """The key that wraps from now on, and those under which something may still be wrapped.

    The workspace's own key always opens what it has wrapped: it need not be named.
    """

    current: KeySource
    former: Annotated[tuple[KeySource, ...], Field(max_length=_FORMER_MAX)] = ()

    @model_validator(mode="after")
    def _each_is_named_once(self) -> Self:
        every = (self.current, *self.former)
        if any(one in every[:place] for place, one in enumerate(every)):
            raise ValueError("former must name each key once, and not the current one")
        return self


OWN_KEY: Final = KeySettings(current=FileKey(kind="file"))


def parse_keys(yaml_text: str, file_name: str) -> KeySettings:
    """The keys in `yaml_text`. BadInput names the file, the field and its rule, never a value."""
    try:
        # As JSON, strict still lets a list be a tuple and a text a path.
        return KeySettings.model_validate_json(json.dumps(parse_yaml(yaml_text, file_name)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        # Of a word that chooses between forms, pydantic repeats what stands there.
        told = first["msg"]
        if first["type"] == "union_tag_invalid":
            told = "must be a kind that there is"
        raise BadInput(f"{file_name}: {path}", told) from None
