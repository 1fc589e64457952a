"""What an MCP host is told of a server, in the form of each host's own file. Writes no file, holds no token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from platformdirs import user_config_path

from control_plane.errors import BadInput

TOKEN_VARIABLE = "PAYBILL_TOKEN"  # noqa: S105 - the variable's name
_INPUT = "paybill_token"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Host(StrEnum):
    """The hosts whose files are known."""

    CLAUDE_DESKTOP = "claude-desktop"
    CLAUDE_CODE = "claude-code"
    VSCODE = "vscode"
    CURSOR = "cursor"


@dataclass(frozen=True)
class Program:
    """A server that the host starts over stdio; every path is absolute."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Address:
    """A server that is reached over HTTP, with a token that the host brings."""

    url: str


Configuration = dict[str, Any]


def configuration(host: Host, name: str, server: Program | Address) -> Configuration:
    """The whole of a file that holds this one server. BadInput where the host cannot reach it so."""
    section = "servers" if host is Host.VSCODE else "mcpServers"
    if isinstance(server, Program):
        return {section: {name: _started(host, server)}}
    made: Configuration = {section: {name: _reached(host, server)}}
    if host is Host.VSCODE:
        asked = {"type": "promptString", "id": _INPUT, "description": "Paybill token"}
        made["inputs"] = [{**asked, "password": True}]
    return made


def file_of(host: Host, folder: Path) -> Path:
    """The file that the host reads: its user's for Claude Desktop, else that of a project's folder."""
    if host is Host.CLAUDE_DESKTOP:
        own = user_config_path("Claude", appauthor=False, roaming=True)
        return own / "claude_desktop_config.json"
    within = {
        Host.CLAUDE_CODE: Path(".mcp.json"),
        Host.VSCODE: Path(".vscode", "mcp.json"),
        Host.CURSOR: Path(".cursor", "mcp.json"),
    }
    return folder / within[host]


def checked_url(text: str) -> str:
    """The URL of a server. BadInput for one that would show a token to others."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput("--http", "must be a URL, as https://paybill.example.com/mcp")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise BadInput("--http", "must hold neither credentials nor a query")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise BadInput("--http", "must be https: the token travels with every request")
    return text


def shown(value: Configuration) -> str:
    """A configuration as text, with a line's end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def one_line(value: Configuration) -> str:
    """A configuration as an argument of a command."""
    return json.dumps(value, ensure_ascii=False)


def merged(text: str, addition: Configuration) -> tuple[str, list[str]]:
    """A file's text with the addition in it, and what changes; all else in it stays.

    BadInput when the text is not a JSON object, or holds something else where a section belongs.
    """
    held = _parsed(text)
    changes: list[str] = []
    for section, added in addition.items():
        inputs = section == "inputs"
        standing = held.setdefault(section, [] if inputs else {})
        if not isinstance(standing, list if inputs else dict):
            raise BadInput(f"file: {section}", "is of another form than the host's own")
        add = _add_inputs if inputs else _add_servers
        changes += add(standing, added)
    return shown(held), changes


def _started(host: Host, program: Program) -> Configuration:
    made: Configuration = {} if host is Host.CLAUDE_DESKTOP else {"type": "stdio"}
    made |= {"command": program.command, "args": list(program.arguments)}
    if program.environment:
        made["env"] = dict(program.environment)
    return made


def _reached(host: Host, server: Address) -> Configuration:
    if host is Host.CLAUDE_DESKTOP:
        raise BadInput(
            "--http", "is not for claude-desktop: its file only starts programs; use --socket"
        )
    variable = {
        Host.CLAUDE_CODE: f"${{{TOKEN_VARIABLE}}}",
        Host.VSCODE: f"${{input:{_INPUT}}}",
        Host.CURSOR: f"${{env:{TOKEN_VARIABLE}}}",
    }[host]
    made: Configuration = {} if host is Host.CURSOR else {"type": "http"}
    return {**made, "url": server.url, "headers": {"Authorization": f"Bearer {variable}"}}


def _parsed(text: str) -> Configuration:
    try:
        held = json.loads(text, object_pairs_hook=_each_once)
    except ValueError:
        raise BadInput("file", "is not JSON, or says a key twice; nothing was written") from None
    except RecursionError:
        raise BadInput("file", "is nested too deeply; nothing was written") from None
    if not isinstance(held, dict):
        raise BadInput("file", "is not a JSON object; nothing was written")
    return cast("Configuration", held)


def _each_once(pairs: list[tuple[str, Any]]) -> Configuration:
    made = dict(pairs)
    if len(made) != len(pairs):
        # One of the two would be lost.
        raise ValueError("a key stands twice")
    return made


def _add_servers(standing: Any, added: Configuration) -> list[str]:
    changes: list[str] = []
    for name, server in added.items():
        if standing.get(name) == server:
            continue
        changes.append(f"the server {name} is {'replaced' if name in standing else 'added'}")
        standing[name] = server
    return changes


def _add_inputs(standing: Any, added: list[Configuration]) -> list[str]:
    known = {cast("Configuration", one).get("id") for one in standing if isinstance(one, dict)}
    missing = [one for one in added if one["id"] not in known]
    standing.extend(missing)
    return [f"the question {one['id']} is added" for one in missing]
