"""What a stack says of the database server that it has made: its output `database`, read strictly. Not the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_plane.errors import Failed

OUTPUT: Final = "database"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# A name or an address of four numbers; or one of version 6. No list, no socket's path, no port.
_HOST: Final = rf"^({_LABEL}(\.{_LABEL}){{0,9}}|[0-9a-fA-F]{{0,4}}(:[0-9a-fA-F]{{0,4}}){{2,7}})$"

SecretReference: TypeAlias = Annotated[str, Field(pattern=r"^[!-~]{1,512}$")]


class StackDatabase(BaseModel):
    """A Postgres server of one tenant's own. `secret` says where its owner's login lies, and is none.

    `name` is the database that this login gets into; the tenant's own is made beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    engine: Literal["postgres"]
    model: Literal["silo"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
    host: Annotated[str, Field(max_length=253, pattern=_HOST)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    secret: SecretReference

    @property
    def at(self) -> str:
        """Where it is, to tell two apart: host and port."""
        return f"{self.host}:{self.port}"


def database_of_stack(outputs: Mapping[str, object]) -> StackDatabase:
    """The server among a stack's outputs. Failed (`stack_output`) names the field, and never a value."""
    if OUTPUT not in outputs:
        raise _failed(OUTPUT, "is missing")
    try:
        return StackDatabase.model_validate(outputs[OUTPUT])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        known = [str(part) for part in first["loc"] if part in StackDatabase.model_fields]
        raise _failed(".".join((OUTPUT, *known)), _rule(first["type"])) from None


def _rule(kind: str) -> str:
    known = {
        "missing": "is missing",
        # What it is called is the module's own word, and stays out of the message.
        "extra_forbidden": "has a field that is not of the contract",
        "literal_error": "is not one that rows can lie on",
    }
    return known.get(kind, "has not the form that it must have")


def _failed(field: str, rule: str) -> Failed:
    return Failed(f"The stack's output {field} {rule}.", code="stack_output")
