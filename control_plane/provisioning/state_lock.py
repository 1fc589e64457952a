"""The lock that a Terraform which was killed has left on a state. It is known by its content, and broken only here.

Terraform's lock says who took it, and from which machine. Where that was this user on this machine,
and no Terraform of this machine works for the tenant any more, its owner is gone. Any other lock is
somebody's who may live.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.provisioning.reason import said

_INFO: Final = re.compile(
    r"Lock Info:.*?\bID:\s+(?P<id>[0-9a-f][0-9a-f-]{7,63})\b.*?\bWho:\s+(?P<who>\S{1,256})\b",
    re.DOTALL,
)


@dataclass(frozen=True)
class StateLock:
    """One lock, as Terraform told of it; `who` is user@machine."""

    id: str
    who: str

    @property
    def is_ours(self) -> bool:
        """Whether this user took it on this machine."""
        return self.who == f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    # As Terraform's own runtime tells it: by the number, never by a variable; nothing without a name.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def lock_in(*paths: Path) -> StateLock | None:
    """The lock that a failed command was told of; None where it tells of none."""
    found = _INFO.search(said(*paths))
    return None if found is None else StateLock(found["id"], found["who"])
