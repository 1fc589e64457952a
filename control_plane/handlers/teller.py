"""Puts attempts and refunds to their payment provider, or asks about them, and says what that makes of them. Writes no row."""

from __future__ import annotations

import logging
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
    unheard,
    unsent,
)
from control_plane.billing.refunding import heard
from control_plane.billing.refunding import unheard as refund_unheard
from control_plane.domain.money import Money
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.refund import Refund
from control_plane.domain.terms import Method
from control_plane.errors import Refused, Unavailable, Unknown
from control_plane.handlers.handler import Ports

Verdict: TypeAlias = Callable[[PaymentAttempt, datetime], PaymentAttempt]
"""What the provider's word makes of the attempt as it stands when the word is written down."""
RefundVerdict: TypeAlias = Callable[[Refund, datetime], Refund]
"""The same of a refund."""

_LOG = logging.getLogger("paybill.billing")


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
    """Ask what became of an attempt: nobody wrote it down, or it waits for the customer."""
    provider = _provider(ports, attempt)
    if provider is None:
        return unheard
    try:
        answer = provider.ask(order_of(attempt, _method(attempt)))
    except (Unavailable, Unknown):
        return unheard
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


def refund(ports: Ports, promised: Refund, attempt: PaymentAttempt) -> RefundVerdict:
    """Ask its provider for a refund; the same again gives nothing twice, and tells how it ended."""
    provider = _provider(ports, attempt)
    if provider is None:
        return refund_unheard
    amount = Money(minor=promised.amount_minor, currency=promised.currency)
    try:
        answer = provider.refund(promised.id, order_of(attempt, _method(attempt)), amount)
    except (Unavailable, Unknown):
        return refund_unheard
    except Refused as error:
        # It stands at the provider as another one: a human looks, and it is not asked on at once.
        _LOG.error("a provider refuses the refund %s: %s", promised.id, error.code)
        return refund_unheard
    return lambda held, at: heard(held, answer, at)


def has(ports: Ports, provider: str) -> bool:
    """Whether this worker reaches a provider; of a method that is none, there is nothing to reach."""
    return provider in (ports.payments or {})


def _told(answer: Answer) -> Verdict:
    return lambda held, at: settled(held, answer, at)


def _provider(ports: Ports, attempt: PaymentAttempt) -> PaymentProvider | None:
    return (ports.payments or {}).get(attempt.provider)


def _method(attempt: PaymentAttempt) -> Method:
    return Method(provider=attempt.provider, reference=attempt.method_reference)
