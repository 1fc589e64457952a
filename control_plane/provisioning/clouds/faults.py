"""The errors of a cloud's adapter, by our codes. Nothing that an SDK or a cloud says is passed on.

An SDK's message may hold what was sent: a key's id, a token, an address with a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from control_plane.errors import PaybillError, Unavailable

WORDS: Final = {
    "aws": "AWS",
    "azure": "Azure",
    "gcp": "Google Cloud",
    "oci": "Oracle Cloud",
    "ibm": "IBM Cloud",
    "local": "The local machine",
}
_REFUSED_MIN: Final = 400
_UNAUTHENTICATED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_SERVER_FAILS: Final = 500


def missing(cloud: str, names: Sequence[str]) -> Unavailable:
    """The credentials lack these variables."""
    return Unavailable(
        f"{WORDS[cloud]}: the credentials lack {', '.join(names)}", code="credentials_missing"
    )


def malformed(cloud: str, name: str) -> Unavailable:
    """One of the credentials cannot be used as what it should be."""
    return Unavailable(
        f"{WORDS[cloud]}: {name} is not usable as what it should be", code="credentials_refused"
    )


def sdk_missing(cloud: str) -> Unavailable:
    """The cloud's SDK is not installed."""
    return Unavailable(
        f"{WORDS[cloud]}'s SDK is missing: pip install 'paybill[{cloud}]'", code="sdk_missing"
    )


def too_long(cloud: str, said: str) -> Unavailable:
    """A list goes on beyond its bound: a part of it must not pass for the whole."""
    return Unavailable(f"{WORDS[cloud]}: {said}", code="cloud_list_too_long")


def of_status(cloud: str, status: int | None) -> Unavailable:
    """What the cloud's answer means; `status` is None where there was none, or none that reads."""
    word = WORDS[cloud]
    if status == _UNAUTHENTICATED:
        return Unavailable(f"{word} does not take the credentials", code="credentials_refused")
    if status == _FORBIDDEN:
        return Unavailable(
            f"{word} takes the credentials, but they may not look at what must be looked at",
            code="credentials_refused",
        )
    if status == _TOO_MANY:
        return Unavailable(f"{word} takes no more requests for now", code="cloud_unavailable")
    if status is not None and status >= _SERVER_FAILS:
        return Unavailable(f"{word} fails", code="cloud_unavailable")
    if status is not None:
        return Unavailable(f"{word} does not take a request ({status})", code="cloud_unavailable")
    return Unavailable(f"{word} does not answer as it must", code="cloud_unavailable")


def failed_status(status: object) -> int | None:
    """A status as an error carries it, where it is one of HTTP's for a failure."""
    return status if isinstance(status, int) and status >= _REFUSED_MIN else None


@contextmanager
def told(cloud: str, status: Callable[[Exception], int | None]) -> Generator[None]:
    """Whatever is raised within comes out as an error of ours."""
    try:
        yield
    except PaybillError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an SDK raises may hold a secret
        raise of_status(cloud, status(error)) from None
