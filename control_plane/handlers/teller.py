"""Puts an attempt to its payment provider, or asks about it, and says what that makes of it. Writes no row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from control_plane.billing.provider import (
    Answer,
    PaymentProvider,
    lost,
    order_of,
    probed,
    settled,
    unsent,
)
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.terms import Method
from control_plane.errors import Unavailable, Unknown
from control_plane.handlers.handler import Ports

Verdict: TypeAlias = Callable[[PaymentAttempt, datetime], PaymentAttempt]
"""What the provider's word makes of the attempt as it stands when the word is written down."""


def charge(ports: Ports, attempt: PaymentAttempt) -> Verdict:
    """Put an attempt that is committed as going out to its provider; the same again charges once."""
    provider = _provider(ports, attempt)
    if provider is None:
        return unsent
    try:
        answer = provider.charge(order_of(attempt, _method(attempt)))
    except Unavailable:
        return unsent
    except Unknown:
        return lost
    return _told(answer)


def ask(ports: Ports, attempt: PaymentAttempt) -> Verdict:
    """Ask what became of an attempt whose outcome nobody wrote down."""
    provider = _provider(ports, attempt)
    if provider is None:
        return lost
    try:
        answer = provider.ask(order_of(attempt, _method(attempt)))
    except (Unavailable, Unknown):
        return lost
    return lambda held, at: probed(held, answer, at)


def close(ports: Ports, attempt: PaymentAttempt) -> Verdict:
    """Close an attempt that has waited too long for the customer; it may have succeeded since."""
    provider = _provider(ports, attempt)
    if provider is None:
        return lost
    try:
        answer = provider.cancel(order_of(attempt, _method(attempt)))
    except (Unavailable, Unknown):
        return lost
    return lambda held, at: probed(held, answer, at)


def _told(answer: Answer) -> Verdict:
    return lambda held, at: settled(held, answer, at)


def _provider(ports: Ports, attempt: PaymentAttempt) -> PaymentProvider | None:
    return (ports.payments or {}).get(attempt.provider)


def _method(attempt: PaymentAttempt) -> Method:
    return Method(provider=attempt.provider, reference=attempt.method_reference)
