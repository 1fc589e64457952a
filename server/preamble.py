"""The first line of a connection to the socket: which service, by which token. Verifies no token."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from server.tokens import TOKEN_CHARS_MAX

PREAMBLE_BYTES_MAX: Final = 16_384

Service = Literal["mcp"]


class Preamble(BaseModel):
    """`{"paybill": 1, "token": "...", "service": "mcp"}`; the service is `mcp` when not named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    paybill: Literal[1]
    token: SecretStr = Field(min_length=1, max_length=TOKEN_CHARS_MAX)
    service: Service = "mcp"


def parse_preamble(line: bytes) -> Preamble | None:
    """What the line says, or None when it is no preamble."""
    try:
        return Preamble.model_validate_json(line)
    except ValidationError:
        return None
