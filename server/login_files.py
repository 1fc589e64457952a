"""The files of a workspace's logins on Postgres, one a login, each 0600. Not what a login may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from control_plane.errors import BadInput, Unavailable
from server.private_files import read_own_file, write_new_file

if TYPE_CHECKING:
    from control_plane.store.logins import Login

_FORMAT: Final = "paybill-postgres-1"
DRIVER: Final = "postgresql+psycopg"
_SCHEMES: Final = frozenset({"postgres", "postgresql", DRIVER})
# What else libpq understands could run a program, read a file of secrets or set a session's bounds.
_QUERY: Final = frozenset({"host", "port", "sslmode", "sslrootcert", "channel_binding"})
_FILE_BYTES_MAX: Final = 4096
_RULE: Final = "must hold one line: postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


class _LoginFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    format: Literal["paybill-postgres-1"]
    login: Literal["worker", "face", "auditor", "data"]
    url: SecretStr


def login_path(state: Path, login: Login) -> Path:
    """Where a login's file lies."""
    return state / f"postgres-{login}.json"


def write_login(state: Path, login: Login, url: URL) -> None:
    """Write a new login's file. FileExistsError when it is there."""
    content = {"format": _FORMAT, "login": login, "url": url.render_as_string(hide_password=False)}
    write_new_file(login_path(state, login), json.dumps(content).encode() + b"\n")


def read_login(state: Path, login: Login) -> URL:
    """The URL of a login, with its password. Raises Unavailable (`login_absent`), NotPrivate."""
    path = login_path(state, login)
    try:
        content = read_own_file(path, bytes_max=_FILE_BYTES_MAX, closed=True)
        file = _LoginFile.model_validate_json(content)
        if file.login != login:
            raise ValueError
        return _parsed(file.url.get_secret_value())
    except FileNotFoundError:
        raise Unavailable(f"the login's file {path} is gone", code="login_absent") from None
    except (ValidationError, ValueError, ArgumentError):
        raise Unavailable(f"{path} is malformed", code="login_absent") from None


def read_owner(path: Path) -> URL:
    """The owner's URL out of a file of this user. Raises BadInput, NotPrivate."""
    try:
        content = read_own_file(path, bytes_max=_FILE_BYTES_MAX, closed=True)
        lines = content.decode().splitlines()
        if len(lines) != 1:
            raise ValueError
        url = _parsed(lines[0].strip())
    except FileNotFoundError:
        raise BadInput("--postgres-file", "must be a file that is there") from None
    except (ValueError, ArgumentError):
        raise BadInput("--postgres-file", _RULE) from None
    if not url.database or not url.username or not (url.host or url.query.get("host")):
        raise BadInput("--postgres-file", _RULE)
    unknown = set(url.query) - _QUERY
    if unknown:
        raise BadInput("--postgres-file", f"may set {', '.join(sorted(_QUERY))} and nothing else")
    return url


def server_of(url: URL) -> str:
    """Which server a URL leads to, to tell two apart: host and port."""
    host = url.host or url.query.get("host") or ""
    port = url.port or url.query.get("port") or ""
    return f"{host}:{port}"


def _parsed(text: str) -> URL:
    url = make_url(text)
    if url.drivername not in _SCHEMES:
        raise ValueError
    return url.set(drivername=DRIVER)
