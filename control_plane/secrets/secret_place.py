"""Where the credentials of tenants' services are left for them: a port. Reads none of them back."""

from __future__ import annotations

import re
import secrets
from typing import Final, Protocol

from control_plane.errors import BadInput

_REFERENCE: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]\.[ab]\.[1-9][0-9]{0,17}")
_SECRET_BYTES: Final = 32


class SecretPlace(Protocol):
    """A folder, or a secret manager: what lies there is fetched by the services, never by us.

    A reference names tenant, half and version, and says nothing of the secret.
    """

    def put(self, reference: str, secret: str) -> None:
        """Leave the secret under the reference, in the place of what was there.

        Raises BadInput (`reference`), Unavailable (`secret_place`).
        """
        ...

    def drop(self, reference: str) -> None:
        """Take away what is under the reference; again changes nothing. Raises as `put` does."""
        ...


def reference_of(tenant: str, half: str, version: int) -> str:
    """The reference of a tenant's credential: `acme.a.3`."""
    return f"{tenant}.{half}.{version}"


def check_reference(reference: str) -> str:
    """The reference, if it has the form of one: it becomes the name of a file."""
    if _REFERENCE.fullmatch(reference) is None:
        raise BadInput("reference", "must be a tenant's, with its half and version")
    return reference


def new_secret() -> str:
    """A password that nobody has had: 43 characters, 256 bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)
