"""The cloud accounts that a worker may use, as its user's settings declare them. Holds references to secrets, never one.

Executables, credentials and addresses are the worker's user's to say, never a workspace's: a folder
that somebody opens must not reach a cloud.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.domain.canonical import Json
from control_plane.domain.isolation import Cloud
from control_plane.domain.plans import Region
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.domain.tenant import TenantId
from control_plane.errors import BadInput
from control_plane.provisioning import state_settings

_Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_ARGUMENTS_MAX: Final = 32
_ACCOUNTS_MAX: Final = 6
_DEDICATED_MAX: Final = 1000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class FromEnvironment(_Strict):
    """Variables of the worker's own environment, passed on under the same names."""

    kind: Literal["environment"]
    names: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=32)]


class FromFile(_Strict):
    """A JSON object of names and texts, in a file that only the worker's user may read."""

    kind: Literal["file"]
    path: Path


class FromCommand(_Strict):
    """A program that prints such an object: the door to a secret manager of the user's own."""

    kind: Literal["command"]
    argv: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=_ARGUMENTS_MAX)]
    deadline_s: int = Field(default=10, ge=1, le=60)


Credentials: TypeAlias = Annotated[
    FromEnvironment | FromFile | FromCommand, Field(discriminator="kind")
]
BackendKind: TypeAlias = Literal["local", "s3", "azurerm", "gcs", "oci", "cos", "pg"]


class StateBackend(_Strict):
    """Where the states of an account's stacks lie: one for each tenant and stack.

    `settings` go to Terraform's backend as they stand, those of them that an account may give:
    state_settings.py.
    """

    kind: BackendKind = "local"
    settings: Mapping[_Name, Json] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _may_be_given(self) -> Self:
        if (found := state_settings.mistake(self.kind, self.settings)) is not None:
            name, rule = found
            raise ValueError(f"settings.{name} {rule}")
        return self


class CloudAccount(_Strict):
    """One account of one cloud: AWS account, Azure subscription, Google project, OCI compartment, IBM account."""

    account: _Word = Field(description="The identity that the credentials must turn out to have.")
    regions: Annotated[tuple[Region, ...], Field(min_length=1, max_length=100)] = Field(
        description="Where stacks may stand."
    )
    credentials: Credentials = Field(description="Where the credentials come from.")
    provider: Mapping[_Name, Json] = Field(
        default_factory=dict, description="More settings of Terraform's provider, as JSON."
    )
    endpoints: Mapping[_Name, _Word] = Field(
        default_factory=dict, description="Addresses of services that are not the cloud's own."
    )
    shared: Mapping[Region, Mapping[_Name, _Word]] = Field(
        default_factory=dict,
        description="What bridge and pooled stacks stand on, by region: names that its modules ask for.",
    )
    state: StateBackend = Field(default=StateBackend(), description="Where states lie.")


class DedicatedAccount(CloudAccount):
    """An account that some tenants have, and nobody else."""

    cloud: Cloud = Field(description="Of which cloud it is.")
    tenants: Annotated[tuple[TenantId, ...], Field(min_length=1, max_length=_DEDICATED_MAX)] = (
        Field(description="Whose stacks on that cloud stand there.")
    )


class Clouds(_Strict):
    """Every account that the worker may use, by cloud; `local` needs none."""

    mirror: Path | None = Field(
        default=None,
        description="A folder of provider packages, as Terraform's mirrors are laid out.",
    )
    accounts: Mapping[Cloud, CloudAccount] = Field(
        default_factory=dict[Cloud, CloudAccount],
        max_length=_ACCOUNTS_MAX,
        description="The accounts of all tenants that have none of their own.",
    )
    dedicated: tuple[DedicatedAccount, ...] = Field(
        default=(), max_length=_DEDICATED_MAX, description="Accounts that some tenants have alone."
    )

    def account_of(self, cloud: Cloud, tenant: str) -> CloudAccount | None:
        """The account in which a tenant's stacks on a cloud stand: its own, else everybody's."""
        for one in self.dedicated:
            if one.cloud == cloud and tenant in one.tenants:
                return one
        return self.accounts.get(cloud)

    @model_validator(mode="after")
    def _local_has_none(self) -> Self:
        if "local" in self.accounts or any(one.cloud == "local" for one in self.dedicated):
            raise ValueError("local needs no account")
        return self

    @model_validator(mode="after")
    def _each_tenant_has_one(self) -> Self:
        seen: set[tuple[Cloud, str]] = set()
        for number, one in enumerate(self.dedicated):
            for place, tenant in enumerate(one.tenants):
                if (one.cloud, tenant) in seen:
                    raise ValueError(
                        f"dedicated.{number}.tenants.{place} has an account of this cloud already"
                    )
                seen.add((one.cloud, tenant))
        return self

    @model_validator(mode="after")
    def _each_account_has_one_place_for_states(self) -> Self:
        # Between two entries of one account tenants may be moved: that must move no state.
        states = {(cloud, one.account): one.state for cloud, one in self.accounts.items()}
        for number, one in enumerate(self.dedicated):
            if states.setdefault((one.cloud, one.account), one.state) != one.state:
                raise ValueError(
                    f"dedicated.{number}.state must be as in the other entry of this account"
                )
        return self


NO_CLOUDS: Final = Clouds()


def parse_clouds(yaml_text: str, file_name: str) -> Clouds:
    """The accounts in `yaml_text`. BadInput names the file, the field and its rule, never a value."""
    try:
        # As JSON, strict still lets a list be a tuple and a text a path.
        return Clouds.model_validate_json(json.dumps(parse_yaml(yaml_text, file_name)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{file_name}: {path}", _rule(first["type"], first["msg"])) from None


def _rule(kind: str, message: str) -> str:
    # Of a word that chooses between forms, pydantic repeats what stands there.
    return "must be a kind that there is" if kind == "union_tag_invalid" else message
