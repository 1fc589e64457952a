"""A cloud account's credentials, fetched from where its declaration points. Keeps none, and logs none.

What comes out is a mapping of the variables that Terraform's provider reads; the cloud's own SDK is
given the same ones.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import stat
import subprocess
import time
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
        child = subprocess.Popen(  # noqa: S603 - the worker's user named the program; no shell
            source.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: environment[name] for name in ("PATH", "HOME") if name in environment},
            start_new_session=True,
        )
    except (OSError, ValueError):
        raise _missing("the program for credentials does not start") from None
    with child:
        try:
            printed = _printed(child, time.monotonic() + source.deadline_s)
        finally:
            _end(child)
    if printed is None:
        raise _missing("the program for credentials did not answer in time")
    if len(printed) <= _BYTES_MAX and child.returncode != 0:
        raise _missing(f"the program for credentials ended with {child.returncode}")
    return printed


def _printed(child: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """All that it prints, or a byte more than may be; None when it has not ended in time."""
    assert child.stdout is not None, "opened as a pipe"
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while len(read) <= _BYTES_MAX:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            part = os.read(child.stdout.fileno(), _BYTES_MAX + 1 - len(read))
            if not part:
                break
            read += part
    try:
        if len(read) <= _BYTES_MAX:
            child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return read


def _end(child: subprocess.Popen[bytes]) -> None:
    """A program that has not ended by itself ends now, with whatever it has started."""
    if child.returncode is None:  # it is not reaped, so its group is nobody else's yet
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return


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
