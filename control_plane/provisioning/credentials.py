"""A cloud account's credentials, fetched from where its declaration points. Keeps none, and logs none.

What comes out is a mapping of the variables that Terraform's provider reads; the cloud's own SDK is
given the same ones.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias, cast

from control_plane.errors import Unavailable
from control_plane.provisioning.accounts import (
    Credentials,
    FromCommand,
    FromEnvironment,
    FromFile,
)
from control_plane.secrets.exchange import ProgramFailed, SaidTooMuch, exchange

Fetch: TypeAlias = Callable[[Credentials], Mapping[str, str]]

_BYTES_MAX: Final = 65_536
_NAMES_MAX: Final = 64
_OTHERS: Final = 0o077
# Terraform's own switches and ours are not credentials: who writes the file must not steer by it.
_NOT_OURS: Final = re.compile(
    r"(TF_(?!VAR_[a-z])|PAYBILL_|LD_|DYLD_|PYTHON)[A-Za-z0-9_]*|PATH|HOME|TMPDIR|SHELL|IFS|ENV"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def fetch(source: Credentials, environment: Mapping[str, str]) -> dict[str, str]:
    """The credentials by name of variable.

    Raises Unavailable: `credentials_missing` where there are none, `credentials_unreadable` where
    what is there is no object of names and texts. Neither names a value.
    """
    match source:
        case FromEnvironment():
            absent = [name for name in source.names if not environment.get(name)]
            if absent:
                raise _missing(f"the worker's environment lacks {', '.join(absent)}")
            return _checked({name: environment[name] for name in source.names})
        case FromFile():
            return _parsed(_read(source.path))
        case FromCommand():
            return _parsed(_run(source, environment))


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # a path with a NUL in it is no path
        raise _missing("the file of credentials cannot be read") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise _missing("the file of credentials is no plain file of this user")
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            raise _missing("the file of credentials is open to others; close it with: chmod 600")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(_BYTES_MAX + 1)
    finally:
        os.close(handle)


def _run(source: FromCommand, environment: Mapping[str, str]) -> bytes:
    try:
        return exchange(source.argv, b"", environment, source.deadline_s)
    except SaidTooMuch:
        raise _unreadable() from None
    except ProgramFailed as error:
        raise _missing(f"the program for credentials {error}") from None


def _parsed(content: bytes) -> dict[str, str]:
    if len(content) > _BYTES_MAX:
        raise _unreadable()
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise _unreadable() from None
    if not isinstance(told, dict):
        raise _unreadable()
    pairs = cast("dict[str, object]", told)
    if not all(isinstance(value, str) for value in pairs.values()):
        raise _unreadable()
    return _checked(cast("dict[str, str]", pairs))


def _checked(pairs: dict[str, str]) -> dict[str, str]:
    if not pairs or len(pairs) > _NAMES_MAX or not all(map(_is_text, pairs.values())):
        raise _unreadable()
    if any(not _NAME.fullmatch(name) or _NOT_OURS.fullmatch(name) for name in pairs):
        raise Unavailable("a name among the credentials is not one", code="credentials_unreadable")
    return pairs


def _is_text(value: str) -> bool:
    """Whether an environment can hold it: no NUL, and no half of a surrogate pair."""
    return "\0" not in value and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _missing(said: str) -> Unavailable:
    return Unavailable(said, code="credentials_missing")


def _unreadable() -> Unavailable:
    return Unavailable(
        "the credentials are not an object of names and texts", code="credentials_unreadable"
    )
