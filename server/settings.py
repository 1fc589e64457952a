"""The process's settings: the one reader of the environment. Not the workspace's settings: those are in its store."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane.errors import BadInput
from tools.form import CollectionForm

_PREFIX = "PAYBILL_"
_LIMITS_SEPARATOR = "__"
_WEBHOOK_SECRETS_MAX = 8


class Limits(BaseModel):
    """What one call, answer or caller may cost; set with `PAYBILL_LIMITS__<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate_deadline_s: float = Field(
        default=1.0, gt=0, le=30, description="How long one question to the policy engine may take."
    )
    call_deadline_s: float = Field(
        default=20.0, gt=0, le=300, description="How long one call may take in all."
    )
    calls_in_flight_max: int = Field(
        default=8, ge=1, le=256, description="Calls of one caller that may run at once."
    )
    rows_max: int = Field(default=100, ge=1, le=1000, description="Rows in one answer.")
    answer_bytes_max: int = Field(
        default=262_144, ge=4096, le=16_777_216, description="Bytes in one answer."
    )
    statement_ms_max: int = Field(
        default=2000, ge=10, le=60_000, description="How long one statement may take."
    )
    pending_approvals_max: int = Field(
        default=5, ge=1, le=100, description="Approvals that one caller may have waiting."
    )
    body_bytes_max: int = Field(
        default=262_144, ge=4096, le=16_777_216, description="Bytes in one request."
    )
    nesting_max: int = Field(
        default=16, ge=4, le=64, description="Levels of nesting in one request's arguments."
    )


class Settings(BaseSettings):
    """What this process was told by its environment. Frozen; the token never shows in a repr."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_LIMITS_SEPARATOR,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    home: Path = Field(
        default_factory=lambda: user_state_path("paybill"),
        description="Where the state of every workspace of this user lies; absolute.",
    )
    cache: Path = Field(
        default_factory=lambda: user_cache_path("paybill"),
        description="Where fetched programs are kept; absolute.",
    )
    token: SecretStr | None = Field(
        default=None, description="The token that a client presents; a file is safer."
    )
    token_file: Path | None = Field(
        default=None, description="A file that holds the token; only its owner may read it."
    )
    issuers_file: Path | None = Field(
        default=None, description="The outside issuers whose tokens are taken over HTTP."
    )
    workspace: Path | None = Field(
        default=None, description="The workspace's folder; else the nearest one above."
    )
    cerbos_bin: Path | None = Field(
        default=None, description="The policy engine's program; else one that is found."
    )
    terraform_bin: Path | None = Field(
        default=None, description="Terraform's program; else one that is found."
    )
    clouds_file: Path | None = Field(
        default=None,
        description="The cloud accounts that the worker may use; only its owner may read it.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="Which keys wrap those of backups, else the workspace's own; only its owner may "
        "read it.",
    )
    handover_file: Path | None = Field(
        default=None,
        description="Where the worker leaves the passwords of tenants' services, else a folder of "
        "the workspace's state; only its owner may read it.",
    )
    stack_databases_file: Path | None = Field(
        default=None,
        description="Of which clouds silo stacks take their tenants' rows, and how the worker gets "
        "into their servers; none without it. Only its owner may read it.",
    )
    handover_host: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Where services reach the workspace's own Postgres, where not as Paybill does.",
    )
    handover_port: int | None = Field(
        default=None, ge=1, le=65_535, description="Its port, where not the one Paybill uses."
    )
    handover_overlap_s: float = Field(
        default=600.0,
        ge=0,
        le=1500,
        description="How long a credential holds after its rotation, unless its services have "
        "followed before.",
    )
    pg_bin: Path | None = Field(
        default=None,
        description="The folder of Postgres's `pg_dump` and `pg_restore`; else those that are found.",
    )
    path: str = Field(
        default="",
        validation_alias="PATH",
        description="The folders in which programs are looked for.",
    )
    collection_tools: CollectionForm = Field(
        default="auto",
        description="Whether `each` collection has tools of its own, or `generic` ones take its "
        "name; `auto` is `each` for up to 4 collections.",
    )
    sandbox_payments: bool = Field(
        default=True,
        description="Whether payments may go to the sandbox, which charges nothing for real.",
    )
    manual_payments: bool = Field(
        default=False,
        description="Whether a payment method may be a transfer that a human writes down.",
    )
    stripe_key: SecretStr | None = Field(
        default=None, description="The secret key by which the worker charges through Stripe."
    )
    stripe_key_file: Path | None = Field(
        default=None,
        description="A file with that key, which the worker reads; it is how one that a server "
        "starts comes by it.",
    )
    stripe_api_base: str = Field(
        default="https://api.stripe.com", description="Where Stripe's API is; https or loopback."
    )
    stripe_webhook_secrets: SecretStr | None = Field(
        default=None,
        description="The signing secrets of the endpoints at Stripe, with a comma between; with "
        "them `/hooks/stripe` is open.",
    )
    stripe_webhook_secrets_file: Path | None = Field(
        default=None,
        description="A file with those secrets, which the server and the worker read; it is how "
        "one that a server starts comes by them.",
    )
    drift_repairs: bool = Field(
        default=False,
        description="Whether the house asks by itself for the repair of a stack that has drifted.",
    )
    limits: Limits = Field(default_factory=Limits, description="The table of limits.")

    @field_validator(
        "home",
        "cache",
        "cerbos_bin",
        "terraform_bin",
        "clouds_file",
        "keys_file",
        "pg_bin",
        "handover_file",
        "stack_databases_file",
        "stripe_key_file",
        "stripe_webhook_secrets_file",
    )
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        # A relative one would mean another place for each folder that a command is started in.
        if path is not None and not path.is_absolute():
            raise ValueError("must be an absolute path")
        return path

    @field_validator("stripe_webhook_secrets")
    @classmethod
    def _is_a_few_secrets(cls, told: SecretStr | None) -> SecretStr | None:
        if told is not None:
            webhook_secrets_of(told)
        return told


def webhook_secrets_of(told: SecretStr) -> tuple[SecretStr, ...]:
    """The secrets that stand in a text with a comma between. ValueError, which names none of them."""
    listed = [one.strip() for one in told.get_secret_value().split(",")]
    if len(listed) > _WEBHOOK_SECRETS_MAX or not all(listed):
        raise ValueError(f"must be 1 to {_WEBHOOK_SECRETS_MAX} secrets, and none empty")
    return tuple(map(SecretStr, listed))


def read_settings() -> Settings:
    """Read the environment. Raises BadInput naming the variable and its rule, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadInput(_variable(first["loc"]), first["msg"]) from None


def process_environment() -> dict[str, str]:
    """The whole environment but our own variables: a token in it must never reach a child."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


def _variable(location: tuple[int | str, ...]) -> str:
    name = _LIMITS_SEPARATOR.join(str(part) for part in location).upper()
    return name if name == "PATH" else _PREFIX + name
