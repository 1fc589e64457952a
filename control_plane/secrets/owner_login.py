"""The login of a database server's owner, fetched by reference from where its secret lies. Keeps none, and logs none.

A reference comes from a stack's outputs, and so from a module: what it may lead to is only what the
worker's user has declared for it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from control_plane.domain.canonical import canonical
from control_plane.errors import Unavailable
from control_plane.secrets.exchange import ProgramFailed, exchange

_BYTES_MAX: Final = 16_384
_OTHERS: Final = 0o077
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class OwnerLogin(BaseModel):
    """A JSON object with `username` and `password`; what a secret manager adds is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    username: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]{0,62}$")]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class SecretSource(Protocol):
    """Where secrets lie: variables, a folder, or a secret manager."""

    def get(self, reference: str) -> OwnerLogin:
        """The login that lies there. Raises Unavailable (`stack_login_missing`, and a cloud's own)."""
        ...


class SecretVariables:
    """SecretSource in variables of the worker's environment: those of `names`, and no other."""

    def __init__(self, names: Sequence[str], environment: Mapping[str, str]) -> None:
        self._names = frozenset(names)
        self._environment = environment

    def get(self, reference: str) -> OwnerLogin:
        """The login in the variable of that name."""
        found = self._environment.get(reference) if reference in self._names else None
        if not found:
            raise missing("no variable of that name is declared for it, or it is not set")
        return parsed(found.encode())


class SecretFiles:
    """SecretSource in files of a folder, each of this user alone and named as the reference."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, reference: str) -> OwnerLogin:
        """The login in the file of that name."""
        if _FILE.fullmatch(reference) is None:
            raise missing("its reference is no name of a file in the folder")
        return parsed(_read(self._folder / reference))


class SecretProgram:
    """SecretSource behind a program of the user's own: the door to any secret manager.

    It is told `{"operation": "get", "reference": …}` on stdin, and prints the object.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], deadline_s: float
    ) -> None:
        self._argv = tuple(argv)
        self._environment = environment
        self._deadline_s = deadline_s

    def get(self, reference: str) -> OwnerLogin:
        """The login that the program prints."""
        question = canonical({"operation": "get", "reference": reference}) + b"\n"
        try:
            return parsed(exchange(self._argv, question, self._environment, self._deadline_s))
        except ProgramFailed as error:
            raise missing(f"the program for it {error}") from None


def parsed(content: bytes) -> OwnerLogin:
    """The login in a secret's text. Raises Unavailable (`stack_login_missing`), with no word of it."""
    try:
        if len(content) > _BYTES_MAX:
            raise ValueError
        return OwnerLogin.model_validate_json(content)
    except (ValidationError, ValueError):
        raise missing("it is no object with username and password") from None


def missing(said: str) -> Unavailable:
    """There is no login where the stack says that it lies."""
    return Unavailable(
        f"The login of the stack's server cannot be had: {said}.", code="stack_login_missing"
    )


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise missing("there is no such file") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not mine or stat.S_IMODE(found.st_mode) & _OTHERS:
            raise missing("the file is no plain file of this user alone")
        return file.read(_BYTES_MAX + 1)
