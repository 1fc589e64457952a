"""The file of outside issuers: whose tokens are taken over HTTP, and which grant each one stands for. Verifies nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from control_plane.errors import BadInput
from server.http_options import require_url
from server.private_files import NotPrivate, read_own_file

FILE_BYTES_MAX: Final = 262_144
_FIELD: Final = "--issuers"

# What a public key signs, and nothing else: `none` and HMACs can never be named here.
Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Mapping(_Strict):
    """A claim that has exactly this value stands for this grant of the workspace."""

    claim: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_:/.-]{0,119}$")]
    equals: Text
    grant: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Issuer(_Strict):
    """One issuer: its name in tokens, its public keys, what it may sign with, whom it speaks for."""

    url: Text
    jwks_url: Text | None = None
    jwks_file: Text | None = None
    algorithms: Annotated[list[Algorithm], Field(min_length=1, max_length=5)]
    typ: Literal["at+jwt", "JWT"] = "at+jwt"
    scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,120}$")] | None = None
    lifetime_s_max: Annotated[int, Field(ge=60, le=86_400)] = 86_400
    mapping: Annotated[list[Mapping], Field(min_length=1, max_length=1000)]

    @field_validator("url", "jwks_url")
    @classmethod
    def _is_closed(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            return require_url("url", url)
        except BadInput as error:
            raise ValueError(error.rule) from None

    @field_validator("jwks_file")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not Path(path).is_absolute():
            raise ValueError("must be an absolute path")
        return path

    @model_validator(mode="after")
    def _has_one_source_of_keys(self) -> Self:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("needs jwks_url or jwks_file, and not both")
        return self


class IssuersFile(_Strict):
    """`[[issuer]]`, each with `[[issuer.mapping]]`."""

    issuer: Annotated[list[Issuer], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len({one.url for one in self.issuer}) != len(self.issuer):
            raise ValueError("issuer: each url must stand once")
        return self


def read_issuers(path: Path) -> IssuersFile:
    """What the file says. Raises BadInput naming the option, the key and its rule, never a value."""
    try:
        content = read_own_file(path, bytes_max=FILE_BYTES_MAX)
        parsed = tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise BadInput(_FIELD, "names no file") from None
    except NotPrivate as error:
        raise BadInput(_FIELD, str(error)) from None
    except (ValueError, RecursionError):
        raise BadInput(_FIELD, "must be TOML in UTF-8") from None
    try:
        return IssuersFile.model_validate(parsed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        told = key.encode("ascii", "backslashreplace").decode()[:120]
        raise BadInput(f"{_FIELD}: {told}", first["msg"].removeprefix("Value error, ")) from None
