"""Stripe's secrets as this process was told them: each by a variable, or by a file that it names. Not who may have them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import SecretStr

from control_plane.errors import BadInput
from server.private_files import NotPrivate, read_own_file
from server.settings import Settings, webhook_secrets_of

_BYTES_MAX: Final = 1024
_PUT_RIGHT: Final = "must be a file with {what}, for its owner alone"


def stripe_key(settings: Settings) -> SecretStr | None:
    """The key to charge by; None where there is none. BadInput for a file that is no key."""
    if settings.stripe_key is not None or settings.stripe_key_file is None:
        return settings.stripe_key
    key = _read(settings.stripe_key_file)
    if not key:
        rule = _PUT_RIGHT.format(what="the key")
        raise BadInput("PAYBILL_STRIPE_KEY_FILE", rule)
    return SecretStr(key)


def stripe_webhook_secrets(settings: Settings) -> tuple[SecretStr, ...]:
    """Each signing secret of an endpoint at Stripe; none where there is no endpoint.

    BadInput for a file that holds no such secrets.
    """
    told, file = settings.stripe_webhook_secrets, settings.stripe_webhook_secrets_file
    if told is not None:
        return webhook_secrets_of(told)
    if file is None:
        return ()
    try:
        return webhook_secrets_of(SecretStr(_read(file)))
    except ValueError as error:
        rule = f"{_PUT_RIGHT.format(what='the secrets')}: {error}"
        raise BadInput("PAYBILL_STRIPE_WEBHOOK_SECRETS_FILE", rule) from None


def _read(file: Path) -> str:
    try:
        return read_own_file(file, bytes_max=_BYTES_MAX, closed=True).decode("ascii").strip()
    except (OSError, NotPrivate, UnicodeDecodeError):
        return ""
