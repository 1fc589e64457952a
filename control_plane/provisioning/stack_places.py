"""Which clouds' silo stacks take their tenants' rows, as the worker's user declares it. Holds references, never a secret.

Off unless it is declared. A worker goes to the addresses that a stack's outputs name, with logins that they
refer to: that is the worker's user's to allow, never a catalog's or a module's.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from control_plane.domain.isolation import Cloud
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput

_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
_PLACES_MAX: Final = 6

TlsMode: TypeAlias = Literal["require", "verify-full"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class FromVariables(_Strict):
    """Variables of the worker's environment: a reference is the name of one of these."""

    kind: Literal["environment"]
    names: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=32)]


class FromFolder(_Strict):
    """A folder with a file (0600) for each secret: a reference is a file's name there."""

    kind: Literal["folder"]
    path: Path

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        return _absolute(path)


class FromProgram(_Strict):
    """A program that is told the reference and prints the secret: the door to a secret manager."""

    kind: Literal["command"]
    argv: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=32)]
    deadline_s: int = Field(default=10, ge=1, le=60)


class FromAccount(_Strict):
    """The secret manager of the stack's own account, with the account's credentials. AWS alone."""

    kind: Literal["account"]


SecretSettings: TypeAlias = Annotated[
    FromVariables | FromFolder | FromProgram | FromAccount, Field(discriminator="kind")
]


class StackPlace(_Strict):
    """One cloud whose silo stacks take their tenants' rows, and how the worker gets into their servers."""

    cloud: Cloud
    secret: SecretSettings = Field(description="Where the login of a server's owner lies.")
    tls: TlsMode | None = Field(
        default=None,
        description="How a connection is encrypted; else `require`, and nothing on a loopback.",
    )
    root_certificate: Path | None = Field(
        default=None, description="The certificates that `verify-full` trusts, as a PEM file."
    )
    answer_within_s: int = Field(
        default=300, ge=1, le=1800, description="How long a new server has to answer."
    )

    @field_validator("root_certificate")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else _absolute(path)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.secret.kind == "account" and self.cloud != "aws":
            raise ValueError("secret.kind account is for aws alone: use a command")
        if (self.tls == "verify-full") != (self.root_certificate is not None):
            raise ValueError("root_certificate goes with tls: verify-full, and that with it")
        return self

    def connection(self, host: str) -> dict[str, str]:
        """What libpq is told of encryption for a server at `host`."""
        if self.tls is None and is_loopback(host):
            return {}
        told: dict[str, str] = {"sslmode": self.tls or "require"}
        if self.root_certificate is not None:
            told["sslrootcert"] = str(self.root_certificate)
        return told


class StackPlaces(_Strict):
    """Every cloud that is declared so."""

    stacks: Annotated[tuple[StackPlace, ...], Field(max_length=_PLACES_MAX)] = ()

    @model_validator(mode="after")
    def _each_cloud_once(self) -> Self:
        clouds = [one.cloud for one in self.stacks]
        if len(set(clouds)) != len(clouds):
            raise ValueError("each cloud may stand once")
        return self

    def of(self, cloud: str) -> StackPlace | None:
        """What is declared for a cloud; None where its stacks take no rows."""
        return next((one for one in self.stacks if one.cloud == cloud), None)


def parse_places(yaml_text: str, file_name: str) -> StackPlaces:
    """The places in `yaml_text`. BadInput names the file, the field and its rule, never a value."""
    try:
        # As JSON, strict still lets a list be a tuple and a text a path.
        return StackPlaces.model_validate_json(json.dumps(parse_yaml(yaml_text, file_name)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        told = first["msg"]
        if first["type"].startswith("union_tag"):
            told = "must be a kind that there is"
        raise BadInput(f"{file_name}: {path}", told) from None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, by its address or as `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path
