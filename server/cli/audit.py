"""The commands under `audit`: verify, show, replay, export, verify-export, key, checkpoint. Judges nothing itself."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from control_plane.errors import BadInput, PaybillError
from server.cli.context import Context
from server.cli.show import note, table
from server.private_files import read_plain_file

if TYPE_CHECKING:
    from control_plane.audit.report import Report
    from server.auditing import Auditing, Entry
    from server.replaying import Line

app = typer.Typer(help="The audit log: verify, show, export.", no_args_is_help=True)

_NOTE_BYTES_MAX: Final = 65_536
_NEWEST_MAX: Final = 1_000
# One more than an export's line may have: what is longer comes in parts, none of which is a line.
_LINE_CHARS_MAX: Final = 2**20 + 1
_CHECKPOINT = typer.Option("--checkpoint", help="A signed checkpoint that was kept elsewhere.")
_KEY = typer.Option(
    "--key", help="The verifier key that was kept elsewhere; else this workspace's."
)
_OUT = typer.Option("--out", help="Write to this new file (0600), not to stdout.")


@app.command()
def verify(
    ctx: typer.Context,
    checkpoint: Annotated[Path | None, _CHECKPOINT] = None,
    key: Annotated[str | None, _KEY] = None,
) -> None:
    """Prove that log, rows, keys and catalog are what was signed; 1 when anything is not."""
    kept = _kept(checkpoint)
    with _auditing(ctx) as auditing:
        report = auditing.verify(key, kept)
    _tell(report)


@app.command()
def show(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 20,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Open the payloads with the worker's key, as JSON lines.")
    ] = False,
) -> None:
    """Show the newest leaves; who holds the worker's key may see what they say."""
    with _auditing(ctx) as auditing:
        entries = auditing.newest(limit, tenant, opened=opened)
    if opened:
        for entry in entries:
            typer.echo(_line(entry))
        return
    table(
        "Audit log",
        ("index", "recorded", "kind", "tenant", "rows"),
        [
            (
                "waits" if one.index is None else str(one.index),
                one.leaf.recorded_at,
                one.leaf.kind,
                one.leaf.tenant,
                " ".join(f"{guard.table}:{guard.key}" for guard in one.leaf.guards),
            )
            for one in entries
        ],
    )


@app.command()
def replay(
    ctx: typer.Context,
    wanted: Annotated[
        str | None, typer.Argument(help="The id of a leaf, call or run; else the newest.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000, help="How many of the newest leaves are looked at.")
    ] = 100,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
) -> None:
    """Decide and plan recorded calls again, under the policies of their day; 1 when any differs."""
    from server.replaying import about, replaying
    from server.wiring import face_ports

    context = Context.of(ctx)
    with context.store("auditor") as store:
        entries = _looked_at(ctx, wanted, limit, tenant)
        chosen = entries if wanted is None else about(entries, wanted)
        ports = face_ports(context.workspace, context.settings, store)
        with replaying(context.workspace, context.settings, ports) as one:
            lines = list(one.lines(chosen))
    _tell_replays(lines, len(chosen))


def _looked_at(
    ctx: typer.Context, wanted: str | None, limit: int, tenant: str | None
) -> list[Entry]:
    with _auditing(ctx) as auditing:
        return auditing.newest(_NEWEST_MAX if wanted else limit, tenant, opened=True)


def _tell_replays(lines: list[Line], looked_at: int) -> None:
    rows = [
        (
            line.entry.leaf.id[:12],
            line.entry.leaf.kind,
            line.entry.leaf.tenant,
            line.said.decision if line.said else "not replayed",
            line.said.plan if line.said else "not replayed",
            line.said.detail if line.said else line.why,
        )
        for line in lines
    ]
    table("Replay", ("leaf", "kind", "tenant", "decision", "plan", "detail"), rows)
    note(f"{looked_at - len(lines)} of {looked_at} leaves hold no decision")
    if not lines:
        raise BadInput(
            "WANTED", "must name a leaf, call or run with a decision among the newest leaves"
        )
    if not all(line.said is not None and line.said.same for line in lines):
        typer.echo("differs")
        raise typer.Exit(1)
    typer.echo("the same digests")


@app.command()
def export(ctx: typer.Context, out: Annotated[Path | None, _OUT] = None) -> None:
    """Write every leaf under the newest checkpoint, as JSON lines without payloads."""
    with _auditing(ctx) as auditing, auditing.export() as lines:
        # The first line is asked for before a file is made: without a checkpoint there is none.
        _write(chain([next(lines)], lines), out)


@app.command(name="verify-export")
def verify_export(
    file: Annotated[Path, typer.Argument(help="What `audit export` wrote.")],
    key: Annotated[str, typer.Option("--key", help="The verifier key that was kept elsewhere.")],
    checkpoint: Annotated[Path | None, _CHECKPOINT] = None,
) -> None:
    """Prove an export with the verifier key alone; needs no workspace."""
    from server import auditing

    kept = _kept(checkpoint)
    with _opened_text(file) as lines:
        report = auditing.verify_export(lines, key, kept)
    _tell(report)


@app.command()
def key(ctx: typer.Context) -> None:
    """Print the verifier key: keep it where nobody here can alter it."""
    with _auditing(ctx) as auditing:
        typer.echo(auditing.verifier_key())


@app.command()
def checkpoint(ctx: typer.Context, out: Annotated[Path | None, _OUT] = None) -> None:
    """Print the newest signed checkpoint: kept elsewhere, it excludes a rollback behind it."""
    with _auditing(ctx) as auditing:
        _write([auditing.checkpoint().removesuffix("\n")], out)


@contextmanager
def _auditing(ctx: typer.Context) -> Generator[Auditing]:
    from server.auditing import Auditing

    context = Context.of(ctx)
    with context.store("auditor") as store:
        yield Auditing(context.workspace, store)


def _tell(report: Report) -> None:
    typer.echo(f"leaves: {report.size}")
    typer.echo(f"root: {base64.b64encode(report.root).decode('ascii')}")
    if report.tampers:
        rows = [(finding.code.value, finding.detail) for finding in report.tampers]
        table("Findings", ("code", "where"), rows)
    if report.left_out:
        note(f"{report.left_out} more findings are not shown")
    for finding in report.notices:
        note(f"{finding.code.value}: {finding.detail} (no tamper: the worker sequences them)")
    typer.echo(report.statement())
    typer.echo("intact" if report.intact else "not intact")
    if not report.intact:
        raise typer.Exit(1)


def _line(entry: Entry) -> str:
    shown = {
        "index": entry.index,
        **entry.leaf.model_dump(mode="json"),
        "payload": entry.payload,
        "closed": entry.closed or None,
    }
    # ASCII: what an agent wrote into a payload must not steer the terminal that shows it.
    return json.dumps(shown, ensure_ascii=True, sort_keys=True)


def _kept(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        content, _ = read_plain_file(file, bytes_max=_NOTE_BYTES_MAX)
        return content.decode()
    except (OSError, PaybillError, UnicodeDecodeError):
        raise BadInput("--checkpoint", "must be a file with a signed note") from None


@contextmanager
def _opened_text(file: Path) -> Generator[Iterator[str]]:
    try:
        source = file.open(encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise BadInput("file", f"must be a file that can be read ({error.strerror})") from None
    with source:
        yield iter(lambda: source.readline(_LINE_CHARS_MAX), "")


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(out, flags, 0o600)
    except OSError as error:
        raise BadInput("--out", f"must be a new file ({error.strerror})") from None
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as target:
        for line in lines:
            target.write(line + "\n")
