"""The tools by which a tenant's own services are handed its database: learn, follow, rotate. Not what they do."""

from __future__ import annotations

from control_plane import database_commands as commands
from tools import handover_schemas as schemas
from tools.spec import ToolSpec

HANDOVER_TOOLS = (
    ToolSpec(
        name="database_rotate_credentials",
        title="Rotate a database's credential",
        description="Give a tenant's own services another credential for its database. Both stand "
        "until the services have said that they follow the new one, or the overlap is over; then "
        "the former goes. No query fails meanwhile. Answers 'running' with a run_id.",
        arguments=schemas.RotateCredentialsArguments,
        result=schemas.RotatedResult,
        risk="write",
        domain="database",
        machine="lifecycle",
        to_command=lambda a: commands.RotateCredentials(tenant=a.tenant),
        next_tools=("database_get", "run_get"),
    ),
    ToolSpec(
        name="connection_get",
        title="Read a connection",
        description="Where a tenant's database is, for its own services: host, database, user, what "
        "may be done in it, and under which reference the password lies. Never the password.",
        arguments=schemas.ConnectionArguments,
        result=schemas.ConnectionResult,
        risk="read",
        domain="connection",
        machine="query",
        to_command=lambda a: commands.GetConnection(tenant=a.tenant),
    ),
    ToolSpec(
        name="connection_acknowledge",
        title="Follow a connection",
        description="Say that a tenant's own services follow a version of its connection, and use "
        "no earlier one: what came before may go.",
        arguments=schemas.AcknowledgeArguments,
        result=schemas.AcknowledgedResult,
        risk="write",
        domain="connection",
        machine="change",
        to_command=lambda a: commands.AcknowledgeConnection(tenant=a.tenant, version=a.version),
        next_tools=("connection_get",),
    ),
)
