"""What the control plane asks about the database servers that stacks make: a port. Not an implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from control_plane.provisioning.stack_database import StackDatabase
from control_plane.provisioning.stacks import StackRequest


class StackServers(Protocol):
    """The servers of tenants' own stacks, each under the name that `domain.home.stack_server` gives it.

    Only the worker has them. Each deed may be cut off anywhere, and done again.
    """

    def takes_rows(self, cloud: str) -> bool:
        """Whether the worker's user has declared that silo stacks of that cloud take rows."""
        ...

    def adopt(
        self,
        request: StackRequest,
        found: StackDatabase,
        should_stop: Callable[[], bool],
        *,
        anew: bool,
    ) -> None:
        """Have the workspace's logins on the stack's server, and keep them under its name.

        `anew` says that nothing of the tenant stands there yet: then its address may be another
        than before. Waits for a server that does not answer yet, for as long as is declared. Raises
        Refused (`stack_takes_no_rows`); Unavailable (`stack_login_missing`, `stack_server_silent`,
        `postgres_taken`, `postgres_rights`, `postgres_too_old`, `postgres_unavailable`, and a
        cloud's own); Failed (`stack_login_refused`, `stack_server_moved`, `canceled`).
        """
        ...

    def leave(self, tenant: str) -> bool:
        """Forget the server, and remove our logins there as far as it answers; whether they are removed.

        Again changes nothing.
        """
        ...
