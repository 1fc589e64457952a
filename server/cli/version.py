"""The command `version`. Not the versions of the parts: those are in `doctor`."""

from __future__ import annotations

import typer


def version() -> None:
    """Show Paybill's version."""
    typer.echo(installed_version())


def installed_version() -> str:
    """The version of the installed distribution, or `unknown` in a bare checkout."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return of("paybill")
    except PackageNotFoundError:
        return "unknown"
