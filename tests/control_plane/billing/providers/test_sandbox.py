"""The sandbox: what becomes of a payment follows from its method, and is kept on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from control_plane.billing.provider import Order, PaymentProvider
from control_plane.billing.providers.sandbox import METHODS, SandboxProvider
from control_plane.domain.money import Money
from control_plane.domain.payment import attempt_id
from control_plane.domain.terms import Method
from control_plane.errors import NotFound, Unavailable, Unknown

PRICE = Money(minor=1_234, currency="JPY")
_CHARGE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from control_plane.billing.provider import Order
from control_plane.billing.providers.sandbox import SandboxProvider
SandboxProvider(Path(sys.argv[1])).charge(Order.model_validate_json(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "odd name?x=1.db"


@pytest.fixture
def sandbox(path: Path) -> Iterator[SandboxProvider]:
    with closing(SandboxProvider(path)) as made:
        yield made


def order(reference: str, number: int = 1, invoice: str = "invoice_1") -> Order:
    return Order(
        attempt=attempt_id(invoice, number),
        invoice=invoice,
        tenant="acme",
        amount=PRICE,
        method=Method(provider="sandbox", reference=reference),
    )


def test_the_sandbox_is_a_provider(sandbox: SandboxProvider) -> None:
    provider: PaymentProvider = sandbox
    assert provider.name == "sandbox"


@pytest.mark.parametrize(
    ("reference", "kind", "failure", "code"),
    [
        ("sandbox_ok", "succeeded", None, ""),
        ("sandbox_declined", "failed", "soft_decline", "insufficient_funds"),
        ("sandbox_stolen", "failed", "hard_decline", "stolen_card"),
        ("sandbox_action", "action_required", None, ""),
        ("sandbox_pending", "pending", None, ""),
        ("sandbox_down", "failed", "gateway_error", "processing_error"),
        ("sandbox_declined_0", "failed", "no_method", "no_such_method"),
        ("sandbox_declined_100", "failed", "no_method", "no_such_method"),
        ("sandbox_declined_<n>", "failed", "no_method", "no_such_method"),
        ("SANDBOX_OK", "failed", "no_method", "no_such_method"),
    ],
)
def test_the_answer_follows_from_the_method(
    sandbox: SandboxProvider, reference: str, kind: str, failure: str | None, code: str
) -> None:
    found = sandbox.charge(order(reference))
    assert (found.kind, found.failure, found.decline_code) == (kind, failure, code)
    assert sandbox.charged("invoice_1") == (PRICE,) * (kind == "succeeded")


@pytest.mark.parametrize("times", [1, 2, 12])
def test_a_counted_method_declines_so_many_attempts_of_each_invoice(
    sandbox: SandboxProvider, times: int
) -> None:
    reference = f"sandbox_declined_{times}"
    for invoice in ("invoice_1", "invoice_2"):
        for number in range(1, times + 1):
            asked = order(reference, number, invoice)
            assert sandbox.charge(asked).failure == "soft_decline"
            assert sandbox.charge(asked).failure == "soft_decline"
        assert sandbox.charge(order(reference, times + 1, invoice)).kind == "succeeded"
        assert sandbox.charged(invoice) == (PRICE,)


@pytest.mark.parametrize(
    ("reference", "end"), [("sandbox_action_2", "succeeded"), ("sandbox_action_failed_2", "failed")]
)
def test_a_customer_may_act_before_the_question_of_that_number(
    sandbox: SandboxProvider, reference: str, end: str
) -> None:
    asked = order(reference)
    first = sandbox.charge(asked)
    assert (first.kind, first.action_url[:8]) == ("action_required", "https://")
    kinds = [found.kind for _ in range(3) if (found := sandbox.ask(asked)) is not None]
    assert kinds == ["action_required", end, end]
    assert sandbox.charge(asked).kind == end


@pytest.mark.parametrize(
    ("reference", "first", "then", "given"),
    [
        ("sandbox_refund_pending", "pending", "succeeded", PRICE.minor),
        ("sandbox_refund_failed", "failed", "failed", 0),
        ("sandbox_refund_timeout", "unknown", "succeeded", PRICE.minor),
        ("sandbox_refund_lost", "unknown", "succeeded", PRICE.minor),
    ],
)
def test_how_a_refund_ends_follows_from_the_method(
    sandbox: SandboxProvider, reference: str, first: str, then: str, given: int
) -> None:
    asked = order(reference)
    assert sandbox.charge(asked).kind == "succeeded"

    def refunded() -> str:
        try:
            return sandbox.refund("refund_1", asked, PRICE).kind
        except Unknown:
            return "unknown"

    assert refunded() == first
    # Where the request itself was lost, nothing has gone back yet.
    assert sandbox.refunded(asked.attempt) == (0 if reference.endswith("lost") else given)
    assert [refunded(), refunded()] == [then, then]
    assert sandbox.refunded(asked.attempt) == given


def test_attempts_with_another_method_do_not_count(sandbox: SandboxProvider) -> None:
    sandbox.charge(order("sandbox_declined", 1))
    assert sandbox.charge(order("sandbox_declined_1", 2)).kind == "failed"
    assert sandbox.charge(order("sandbox_declined_1", 3)).kind == "succeeded"


def test_charges_of_an_invoice_are_told_in_their_order(sandbox: SandboxProvider) -> None:
    first = order("sandbox_pending", 2)
    later = order("sandbox_ok", 1).model_copy(update={"amount": Money(minor=9, currency="JPY")})
    sandbox.charge(first)
    sandbox.charge(later)
    assert sandbox.charged("invoice_1") == (later.amount,)
    sandbox.complete(first.attempt)
    assert sandbox.charged("invoice_1") == (PRICE, later.amount)
    assert sandbox.charged("invoice_2") == ()


@pytest.mark.parametrize("reference", ["sandbox_ok", "sandbox_declined"])
def test_what_does_not_wait_cannot_be_settled(sandbox: SandboxProvider, reference: str) -> None:
    asked = order(reference)
    settle: list[Callable[[str], None]] = [sandbox.complete, sandbox.abandon]
    for one in settle:
        with pytest.raises(NotFound):
            one(asked.attempt)
    sandbox.charge(asked)
    for one in settle:
        with pytest.raises(NotFound):
            one(asked.attempt)


def test_no_more_is_given_back_than_was_charged(sandbox: SandboxProvider) -> None:
    asked = order("sandbox_ok")
    sandbox.charge(asked)
    more = Money(minor=PRICE.minor + 1, currency="JPY")
    for refund_id, amount in (("a", more), ("b", Money(minor=0, currency="JPY"))):
        assert sandbox.refund(refund_id, asked, amount).decline_code == "amount_too_large"
    assert sandbox.refund("c", asked, PRICE).kind == "succeeded"
    assert sandbox.refund("d", asked, Money(minor=1, currency="JPY")).kind == "failed"
    assert sandbox.refund("a", asked, more).decline_code == "amount_too_large"
    assert sandbox.refunded(asked.attempt) == PRICE.minor


def test_a_killed_process_does_not_make_it_forget(path: Path) -> None:
    asked = order("sandbox_ok")
    died = subprocess.run(
        [sys.executable, "-c", _CHARGE_AND_DIE, str(path), asked.model_dump_json()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=60,
    )
    assert died.returncode == -signal.SIGKILL
    with closing(SandboxProvider(path)) as sandbox:
        assert sandbox.charge(asked).kind == "succeeded"
        assert sandbox.charged("invoice_1") == (PRICE,)


def test_a_file_that_cannot_be_used_is_a_provider_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        SandboxProvider(tmp_path / "nowhere" / "sandbox.db")
    assert raised.value.code == "payment_provider_unavailable"


def test_every_method_that_is_named_is_known(sandbox: SandboxProvider) -> None:
    for number, name in enumerate(METHODS, start=1):
        asked = order(name.replace("<n>", "1"), number)
        if name in {"sandbox_timeout", "sandbox_lost", "sandbox_unreachable"}:
            continue  # no answer: the contract has them
        assert sandbox.charge(asked).failure != "no_method"
