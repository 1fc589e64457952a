"""The `paybill` program: its commands put together, and errors as one line. Not what a command does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from control_plane.errors import PaybillError
from policies.errors import GateError
from server.cli import (
    approvals,
    approvers,
    audit,
    catalog,
    collections,
    connect,
    databases,
    demo,
    doctor,
    fleet,
    freezes,
    init,
    invoices,
    keys,
    licence,
    mcp_config,
    migrations,
    registry,
    runs,
    sample,
    serve,
    servers,
    simulate,
    stacks,
    tenants,
    tokens,
    version,
    webhooks,
)
from server.cli.context import Context
from server.cli.show import failed


class OneLineErrors(TyperGroup):
    """A group whose errors end as one line on stderr and exit code 1, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (PaybillError, GateError) as error:
            failed(str(error))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneLineErrors,
    name="paybill",
    help="A control plane for multi-tenant SaaS that an AI agent may operate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The workspace's folder; else the nearest above."),
    ] = None,
) -> None:
    """A control plane for multi-tenant SaaS that an AI agent may operate."""
    ctx.obj = Context(workspace)


app.command(name="init")(init.init)
app.add_typer(tokens.app, name="token")
app.add_typer(tenants.app, name="tenant")
app.command(name="doctor")(doctor.doctor)
app.command(name="version")(version.version)
app.command(name="serve")(serve.serve)
app.command(name="connect")(connect.connect)
app.command(name="mcp-config")(mcp_config.mcp_config)
app.command(name="worker")(serve.worker)
app.command(name="failpoints")(serve.list_failpoints)
app.command(name="demo")(demo.demo)
app.add_typer(approvers.app, name="approvers")
app.add_typer(approvals.app, name="approvals")
app.add_typer(audit.app, name="audit")
app.add_typer(collections.app, name="collections")
app.add_typer(catalog.app, name="catalog")
app.add_typer(sample.app, name="sample")
app.add_typer(licence.app, name="licence")
app.add_typer(invoices.app, name="invoices")
app.command(name="simulate")(simulate.simulate)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(stacks.app, name="stack")
app.add_typer(runs.app, name="run")
app.add_typer(freezes.app, name="freeze")
app.add_typer(servers.app, name="server")
app.add_typer(keys.app, name="keys")
app.add_typer(databases.app, name="databases")
app.add_typer(registry.app, name="registry")
app.add_typer(migrations.app, name="migrations")
app.add_typer(fleet.app, name="fleet")
