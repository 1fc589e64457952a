"""The command `init`: asks what must be asked once. Not the making: see `server/initialise.py`."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from server.cli.context import Context
from server.cli.passphrase import read_passphrase
from server.cli.show import note, plain

_RULES = (
    "Who may approve what an agent asks for?",
    "  own_hand    the person whom the agent acts for, with a key of their own, outside the agent",
    "  two_people  never that person: always another one",
)


class Rule(StrEnum):
    """The choices of `--approval-rule`."""

    own_hand = "own_hand"
    two_people = "two_people"


class Sample(StrEnum):
    """The choices of `--sample`."""

    contacts = "contacts"
    helpdesk = "helpdesk"


def init(
    ctx: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="The folder; else this one.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The workspace's name; else the folder's.")
    ] = None,
    approval_rule: Annotated[
        Rule | None, typer.Option(help="Who may approve; asked for when not given.")
    ] = None,
    passphrase_fd: Annotated[
        int | None, typer.Option(help="Read the root key's passphrase from this file descriptor.")
    ] = None,
    postgres_file: Annotated[
        Path | None,
        typer.Option(help="Keep the rows on a Postgres server: a 0600 file with its owner's URL."),
    ] = None,
    sample: Annotated[
        Sample, typer.Option(help="What a new catalog declares; one that stands is left as it is.")
    ] = Sample.contacts,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: own_hand.")] = False,
) -> None:
    """Make this folder a workspace: paybill.toml, a sample catalog, keys and store."""
    from server.clock import SystemClock
    from server.ids import RandomIds
    from server.initialise import Answers, initialise, refuse_second
    from server.login_files import read_owner
    from server.workspace import state_folder

    context = Context.of(ctx)
    root = _root(folder or context.explicit or Path.cwd())
    home = context.settings.home
    refuse_second(root, home)
    owner = None if postgres_file is None else read_owner(postgres_file)
    rule = _rule(approval_rule, yes=yes)
    passphrase = read_passphrase(passphrase_fd, "the root key", new=True)
    answers = Answers(name or _name_of(root), rule.value, passphrase, owner, sample.value)
    workspace = initialise(root, home, answers, SystemClock(), RandomIds())
    typer.echo(plain(f"Initialised workspace {workspace.name} ({workspace.id}) in {root}"))
    note(f"State, keys and store lie in {state_folder(root, home)}; approval rule: {rule.value}.")
    if owner is not None:
        note(
            "The rows lie on the Postgres server; the owner's login is not kept and not needed again."
        )
    note("Next: paybill token issue --principal YOU --roles operator --tenants TENANT")


def _root(folder: Path) -> Path:
    from control_plane.errors import BadInput

    if not folder.is_dir():
        raise BadInput("folder", "must be a folder that is there")
    return folder.resolve()


def _rule(given: Rule | None, *, yes: bool) -> Rule:
    from control_plane.errors import BadInput

    if given is not None:
        return given
    if yes:
        return Rule.own_hand
    if not sys.stdin.isatty():
        raise BadInput("--approval-rule", "is needed: there is no terminal to ask at; or use --yes")
    for line in _RULES:
        note(line)
    choices = [rule.value for rule in Rule]
    for _ in range(3):
        answer: str = typer.prompt("Approval rule", default=Rule.own_hand.value, err=True)
        if answer in choices:
            return Rule(answer)
        note(f"One of: {', '.join(choices)}")
    raise BadInput("--approval-rule", f"must be one of {', '.join(choices)}")


def _name_of(root: Path) -> str:
    kept = re.sub(r"[^A-Za-z0-9 ._-]", "-", root.name).lstrip(" ._-")
    return kept[:80] or "workspace"
