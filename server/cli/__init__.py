"""The command line. Not one rule of its own: it asks, calls and shows."""

from __future__ import annotations


def main() -> None:
    """Run `paybill`; ends the process with 0, with 1 for an error, with 2 for wrong usage."""
    from server.cli.app import app

    app(prog_name="paybill")
