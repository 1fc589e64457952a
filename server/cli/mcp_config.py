"""The command `mcp-config`: what is to be pasted into an MCP host's file, or put there. Not the hosts' forms."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from control_plane.errors import BadInput
from server.cli.context import Context
from server.cli.show import note
from server.client_config import (
    TOKEN_VARIABLE,
    Address,
    Configuration,
    Host,
    Program,
    checked_url,
    configuration,
    file_of,
    merged,
    one_line,
    shown,
)

if TYPE_CHECKING:
    from server.settings import Settings

_FILE_BYTES_MAX = 4 * 1024 * 1024


def _name(value: str) -> str:
    if not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise BadInput("--name", "must be letters, digits, - and _")
    return value


def mcp_config(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    ctx: typer.Context,
    host: Annotated[Host, typer.Argument(help="The MCP host.")],
    token_file: Annotated[
        Path | None, typer.Option(help="The file that holds the token; its path is what is told.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option(help="Join `paybill serve --socket` here, by `paybill connect`.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="The URL of `paybill serve --http`, as clients know it.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="What the host calls the server.", callback=_name)
    ] = "paybill",
    write: Annotated[
        bool, typer.Option("--write", help="Put it into the host's file; all else in it stays.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="The file to write in place of the host's own.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Print what tells an MCP host of this server; never a token's value."""
    if file is not None and not write:
        raise BadInput("--file", "is for --write")
    server = _server(Context.of(ctx), token_file, socket, http)
    made = configuration(host, name, server)
    target = (file or file_of(host, Path.cwd())).absolute()
    if write:
        _write(target, made, yes=yes)
    else:
        typer.echo(shown(made), nl=False)
        note(f"Paste it into {target}, or let --write do so.")
        _note_command(host, name, made)
    if isinstance(server, Address) and host is not Host.VSCODE:
        note(f"The host takes the token from its environment, {TOKEN_VARIABLE}.")


def _server(
    context: Context, token_file: Path | None, socket: Path | None, http: str | None
) -> Program | Address:
    if http is not None:
        for option, given in (("--socket", socket), ("--token-file", token_file)):
            if given is not None:
                raise BadInput(option, "is not for --http: the host itself brings the token")
        return Address(checked_url(http))
    if token_file is None:
        raise BadInput("--token-file", "is needed: no token stands in a host's file")
    if not token_file.is_file():
        raise BadInput("--token-file", "is not there: paybill token issue --out makes it")
    # -P: without it the host's folder would stand on the path before everything installed.
    start = ("-P", "-m", "paybill")
    token = ("--token-file", str(token_file.absolute()))
    if socket is not None:
        return Program(sys.executable, (*start, "connect", str(socket.absolute()), *token))
    workspace = ("--workspace", str(context.workspace.root))
    told = _told(context.settings)
    return Program(sys.executable, (*start, *workspace, "serve", *token), told)


def _told(settings: Settings) -> dict[str, str]:
    # A host hands on little more than HOME and PATH: what was set here must be said there. The
    # token is never among it, and the workspace is an argument.
    told: dict[str, str] = {}
    for name in ("home", "cache", "cerbos_bin", "terraform_bin"):
        if name in settings.model_fields_set:
            told[f"PAYBILL_{name.upper()}"] = str(getattr(settings, name))
    for name in sorted(settings.limits.model_fields_set):
        told[f"PAYBILL_LIMITS__{name.upper()}"] = str(getattr(settings.limits, name))
    return told


def _note_command(host: Host, name: str, made: Configuration) -> None:
    if host is Host.CLAUDE_CODE:
        entry = shlex.quote(one_line(made["mcpServers"][name]))
        note(f"Or type: claude mcp add-json {name} {entry}")


def _write(target: Path, made: Configuration, *, yes: bool) -> None:
    # Through a link: the file that it leads to is the one to keep whole.
    target = target.resolve()
    standing = _read(target)
    text, changes = merged("{}" if standing is None else standing, made)
    if not changes:
        note(f"{target} says so already.")
        return
    note(f"{target}: {'; '.join(changes)}.")
    if not yes and not typer.confirm("Write it?", err=True):
        raise typer.Exit(1)
    if _read(target) != standing:
        raise BadInput("file", "was changed meanwhile; nothing was written")
    _put(target, text)
    note("Written. Start the host anew, so that it reads the file.")


def _read(target: Path) -> str | None:
    try:
        with target.open("rb") as opened:
            held = opened.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError:
        raise BadInput("file", "cannot be read; nothing was written") from None
    if len(held) > _FILE_BYTES_MAX:
        raise BadInput("file", "is too large; nothing was written")
    try:
        return held.decode("utf-8") or "{}"
    except UnicodeDecodeError:
        raise BadInput("file", "is not UTF-8; nothing was written") from None


def _put(target: Path, text: str) -> None:
    """The new text in the place of the old, whole or not at all, under the same mode."""
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        descriptor, path = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        draft = Path(path)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        draft.chmod(mode)
        draft.replace(target)
    except OSError:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise BadInput("file", "cannot be written; it stays as it was") from None
