"""What every PaymentProvider keeps, over the sandbox and Stripe's adapter. Not what differs between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any, Final, Literal, Protocol

import pytest

from control_plane.billing.provider import Answer, Order, PaymentProvider
from control_plane.billing.providers.sandbox import SandboxProvider
from control_plane.billing.providers.stripe import StripeProvider
from control_plane.billing.providers.stripe_api import StripeApi
from control_plane.domain.money import Money
from control_plane.domain.payment import attempt_id
from control_plane.domain.terms import Method
from control_plane.errors import BadInput, PaybillError, Refused, Unavailable, Unknown
from tests.support.payments import KEY, NOW, FakeStripe, Fault, fake_stripe, unused_port
from tests.support.slices import sliced
from tests.support.waiting import until

What = Literal[
    "ok",
    "declined",
    "action",
    "pending",
    "lost_reply",
    "lost_request",
    "refund_timeout",
    "refund_lost",
    "nothing",
]

PRICE: Final = Money(minor=2_500, currency="EUR")
OVER: Final = frozenset({"succeeded", "failed", "canceled"})
ASKED: Final[list[Callable[[PaymentProvider, Order], Answer | None]]] = [
    lambda provider, order: provider.charge(order),
    lambda provider, order: provider.ask(order),
    lambda provider, order: provider.cancel(order),
]
_invoices = count(1)


class Subject(Protocol):
    """A provider, with what stands for its customers and for the network to it."""

    @property
    def provider(self) -> PaymentProvider: ...

    def again(self) -> PaymentProvider:
        """The adapter as another process has it."""
        ...

    def unreachable(self) -> tuple[PaymentProvider, str]:
        """An adapter that does not reach its provider, and a method with which that is so."""
        ...

    def method(self, what: What) -> str:
        """The reference of a method that does so; what gets lost is lost with the next charge."""
        ...

    def act(self, order: Order, *, success: bool) -> None:
        """The customer does what is waited for, or fails to."""
        ...

    def bounce(self, order: Order) -> None:
        """The bank does not pay what is pending."""
        ...

    def losing_refunds(self, what: What) -> None:
        """From now on the next refund, or its answer, gets lost, as the method says."""
        ...

    def charged(self, invoice: str) -> list[int]:
        """Each amount that was charged for the invoice, in minor units."""
        ...

    def refunded(self, order: Order) -> int:
        """What was given back of it, in minor units."""
        ...


class Sandbox:
    """The sandbox on a file."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self._stack = stack
        self.provider = self.again()

    def again(self) -> SandboxProvider:
        made = SandboxProvider(self._path)
        self._stack.callback(made.close)
        return made

    def unreachable(self) -> tuple[PaymentProvider, str]:
        return self.provider, "sandbox_unreachable"

    def method(self, what: What) -> str:
        names = {"lost_reply": "timeout", "lost_request": "lost"}
        return f"sandbox_{names.get(what, what)}"

    def act(self, order: Order, *, success: bool) -> None:
        settle = self.provider.complete if success else self.provider.abandon
        settle(order.attempt)

    def bounce(self, order: Order) -> None:
        self.provider.abandon(order.attempt)

    def losing_refunds(self, what: What) -> None:
        """The method has said so already."""

    def charged(self, invoice: str) -> list[int]:
        return [one.minor for one in self.provider.charged(invoice)]

    def refunded(self, order: Order) -> int:
        return self.provider.refunded(order.attempt)


class Stripe:
    """Stripe's adapter on the fake server."""

    def __init__(self, server: FakeStripe, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self.provider = self.again()

    def again(self) -> StripeProvider:
        return self._over(self._server.url)

    def unreachable(self) -> tuple[PaymentProvider, str]:
        return self._over(f"http://127.0.0.1:{unused_port()}"), "pm_1"

    def method(self, what: What) -> str:
        lost: dict[str, Fault] = {"lost_reply": "lose_reply", "lost_request": "lose_request"}
        if what in lost:
            self._server.fail_next("/confirm", lost[what])
        if what == "nothing":
            return "pm_nothing"
        if what == "pending":
            return self._server.debit("DE62370400440532013001")
        numbers = {"declined": "4000000000000341", "action": "4000002500003155"}
        return self._server.card(numbers.get(what, "4242424242424242"))

    def act(self, order: Order, *, success: bool) -> None:
        self._server.act(self._intent(order)["id"], success=success)

    def bounce(self, order: Order) -> None:
        until(lambda: self._intent(order)["status"] != "processing", "the bank has answered")

    def losing_refunds(self, what: What) -> None:
        fault: Fault = "lose_reply" if what == "refund_timeout" else "lose_request"
        self._server.fail_next("POST /v1/refunds", fault)

    def charged(self, invoice: str) -> list[int]:
        intents = self._server.intents("paybill_invoice", invoice)
        return [one["amount"] for one in intents if one["status"] == "succeeded"]

    def refunded(self, order: Order) -> int:
        return int(self._intent(order)["latest_charge"]["amount_refunded"])

    def _over(self, url: str) -> StripeProvider:
        api = StripeApi(KEY, api_base=url)
        self._stack.callback(api.shut)
        return StripeProvider(api, lambda: NOW)

    def _intent(self, order: Order) -> dict[str, Any]:
        (found,) = self._server.intents("paybill_attempt", order.attempt)
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[FakeStripe]:
    with fake_stripe() as running:
        yield running


@pytest.fixture(params=["sandbox", "stripe"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    with ExitStack() as stack:
        if request.param == "sandbox":
            yield Sandbox(tmp_path / "sandbox.db", stack)
        else:
            running: FakeStripe = request.getfixturevalue("server")
            stack.callback(running.clear_faults)
            yield Stripe(running, stack)


@pytest.fixture
def order(subject: Subject) -> Callable[..., Order]:
    """`order(what, number=1)`: an attempt on this test's own invoice, with a method that does so."""
    invoice = f"invoice_{next(_invoices)}"

    def make(what: What | None = "ok", number: int = 1, reference: str = "") -> Order:
        return Order(
            attempt=attempt_id(invoice, number),
            invoice=invoice,
            tenant="acme",
            amount=PRICE,
            method=Method(
                provider=subject.provider.name,
                reference=subject.method(what) if what else reference,
            ),
            made_at=NOW,
        )

    return make


Make = Callable[..., Order]


def outcome(answer: Answer | None) -> tuple[str, str | None] | None:
    return None if answer is None else (answer.kind, answer.failure)


def test_what_succeeds_is_charged_once_however_often_and_by_whom_it_is_asked_for(
    subject: Subject, order: Make
) -> None:
    asked = order()
    first = subject.provider.charge(asked)
    assert outcome(first) == ("succeeded", None)
    assert first.reference
    assert subject.provider.charge(asked) == first
    other = subject.again()
    assert [other.charge(asked), other.ask(asked), other.cancel(asked)] == [first] * 3
    known = asked.model_copy(update={"reference": first.reference})
    assert [other.charge(known), other.ask(known)] == [first] * 2
    assert subject.charged(asked.invoice) == [PRICE.minor]


def test_what_is_declined_stays_so_and_another_attempt_is_charged(
    subject: Subject, order: Make
) -> None:
    asked = order("declined")
    first = subject.provider.charge(asked)
    assert outcome(first) == ("failed", "soft_decline")
    assert first.decline_code
    assert outcome(subject.again().ask(asked)) == ("failed", "soft_decline")
    assert outcome(subject.provider.charge(asked)) == ("failed", "soft_decline")
    assert subject.charged(asked.invoice) == []
    assert outcome(subject.provider.charge(order("ok", 2))) == ("succeeded", None)
    assert subject.charged(asked.invoice) == [PRICE.minor]


def test_without_a_method_nothing_is_charged(subject: Subject, order: Make) -> None:
    asked = order("nothing")
    assert outcome(subject.provider.charge(asked)) == ("failed", "no_method")
    assert subject.charged(asked.invoice) == []


def test_a_method_of_another_provider_is_bad_input(subject: Subject, order: Make) -> None:
    asked = order("ok")
    strange = asked.model_copy(update={"method": Method(provider="other", reference="x")})
    calls: list[Callable[[Order], object]] = [
        subject.provider.charge,
        subject.provider.ask,
        subject.provider.cancel,
        lambda one: subject.provider.refund("refund_1", one, PRICE),
    ]
    for call in calls:
        with pytest.raises(BadInput, match=r"method\.provider"):
            call(strange)


@pytest.mark.parametrize("success", [True, False])
def test_what_waits_for_the_customer_ends_as_the_customer_acts(
    subject: Subject, order: Make, success: bool
) -> None:
    asked = order("action")
    assert outcome(subject.provider.charge(asked)) == ("action_required", None)
    assert outcome(subject.provider.charge(asked)) == ("action_required", None)
    assert outcome(subject.provider.ask(asked)) == ("action_required", None)
    subject.act(asked, success=success)
    end = ("succeeded", None) if success else ("failed", "soft_decline")
    assert outcome(subject.provider.ask(asked)) == end
    assert outcome(subject.provider.charge(asked)) == end
    assert outcome(subject.provider.cancel(asked)) == end
    assert subject.charged(asked.invoice) == [PRICE.minor] * success


def test_what_was_canceled_while_it_waited_never_succeeds(subject: Subject, order: Make) -> None:
    asked = order("action")
    subject.provider.charge(asked)
    assert outcome(subject.provider.cancel(asked)) == ("canceled", None)
    assert outcome(subject.provider.cancel(asked)) == ("canceled", None)
    with pytest.raises((AssertionError, PaybillError)):
        subject.act(asked, success=True)
    assert outcome(subject.provider.ask(asked)) == ("canceled", None)
    assert outcome(subject.provider.charge(asked)) == ("canceled", None)
    assert subject.charged(asked.invoice) == []


def test_what_is_pending_is_not_canceled_and_fails_when_the_bank_does_not_pay(
    subject: Subject, order: Make
) -> None:
    asked = order("pending")
    assert outcome(subject.provider.charge(asked)) == ("pending", None)
    canceled = subject.provider.cancel(asked)
    assert outcome(canceled) in {("pending", None), ("failed", "soft_decline")}
    if canceled is not None and canceled.kind == "pending":
        subject.bounce(asked)
    assert outcome(subject.provider.ask(asked)) == ("failed", "soft_decline")
    assert outcome(subject.provider.charge(asked)) == ("failed", "soft_decline")
    assert subject.charged(asked.invoice) == []


def test_what_was_never_charged_is_none_and_comes_too_late_from_then_on(
    subject: Subject, order: Make
) -> None:
    asked = order()
    assert subject.provider.ask(asked) is None
    assert subject.provider.ask(asked) is None
    assert subject.provider.cancel(asked) is None
    assert outcome(subject.again().charge(asked)) == ("failed", "gateway_error")
    assert subject.charged(asked.invoice) == []


def test_an_answer_that_got_lost_is_unknown_and_found_by_asking(
    subject: Subject, order: Make
) -> None:
    asked = order("lost_reply")
    with pytest.raises(Unknown) as raised:
        subject.provider.charge(asked)
    assert raised.value.code == "payment_unknown"
    assert outcome(subject.provider.ask(asked)) == ("succeeded", None)
    assert outcome(subject.again().charge(asked)) == ("succeeded", None)
    assert subject.charged(asked.invoice) == [PRICE.minor]


def test_a_request_that_got_lost_is_unknown_and_nothing_was_charged(
    subject: Subject, order: Make
) -> None:
    asked = order("lost_request")
    with pytest.raises(Unknown) as raised:
        subject.provider.charge(asked)
    assert raised.value.code == "payment_unknown"
    assert subject.provider.ask(asked) is None
    assert outcome(subject.provider.charge(asked)) == ("failed", "gateway_error")
    assert subject.charged(asked.invoice) == []


def test_a_provider_that_cannot_be_reached_charges_nothing(subject: Subject, order: Make) -> None:
    provider, reference = subject.unreachable()
    asked = order(None, reference=reference)
    with pytest.raises(Unavailable) as raised:
        provider.charge(asked)
    assert raised.value.code == "payment_provider_unavailable"
    assert subject.charged(asked.invoice) == []


def test_an_attempt_that_several_put_at_the_same_moment_is_charged_once(
    subject: Subject, order: Make
) -> None:
    asked = order()
    adapters = [subject.again() for _ in range(4)]
    together = Barrier(len(adapters))

    def charged(provider: PaymentProvider) -> str:
        together.wait(30)
        try:
            return provider.charge(asked).kind
        except Unknown:
            return "unknown"

    with ThreadPoolExecutor(len(adapters)) as pool:
        told = set(pool.map(charged, adapters))
    assert told <= {"succeeded", "unknown"}
    assert outcome(subject.provider.ask(asked)) == ("succeeded", None)
    assert subject.charged(asked.invoice) == [PRICE.minor]


def test_the_same_attempt_as_another_order_is_refused(subject: Subject, order: Make) -> None:
    asked = order()
    subject.provider.charge(asked)
    for amount in (Money(minor=1, currency="EUR"), Money(minor=2_500, currency="USD")):
        other = asked.model_copy(update={"amount": amount})
        for call in (subject.provider.charge, subject.provider.ask):
            with pytest.raises(Refused) as raised:
                call(other)
            assert raised.value.code == "payment_order_differs"
    assert subject.charged(asked.invoice) == [PRICE.minor]


def test_a_refund_gives_back_once_and_another_one_the_rest(subject: Subject, order: Make) -> None:
    asked = order()
    subject.provider.charge(asked)
    part, rest = Money(minor=1_000, currency="EUR"), Money(minor=1_500, currency="EUR")
    first = subject.provider.refund(f"part_{asked.invoice}", asked, part)
    assert outcome(first) == ("succeeded", None)
    assert first.reference
    assert subject.again().refund(f"part_{asked.invoice}", asked, part) == first
    assert subject.refunded(asked) == part.minor
    with pytest.raises(Refused) as raised:
        subject.provider.refund(f"part_{asked.invoice}", asked, rest)
    assert raised.value.code == "payment_order_differs"
    assert outcome(subject.provider.refund(f"rest_{asked.invoice}", asked, rest)) == (
        "succeeded",
        None,
    )
    assert subject.refunded(asked) == PRICE.minor


@pytest.mark.parametrize("what", ["refund_timeout", "refund_lost"])
def test_a_refund_that_got_lost_is_asked_for_again_and_given_once(
    subject: Subject, order: Make, what: What
) -> None:
    asked = order(what)
    assert outcome(subject.provider.charge(asked)) == ("succeeded", None)
    subject.losing_refunds(what)
    with pytest.raises(Unknown):
        subject.provider.refund(f"lost_{asked.invoice}", asked, PRICE)
    given = subject.again().refund(f"lost_{asked.invoice}", asked, PRICE)
    assert outcome(given) == ("succeeded", None)
    assert subject.provider.refund(f"lost_{asked.invoice}", asked, PRICE) == given
    assert subject.refunded(asked) == PRICE.minor


@pytest.mark.parametrize("what", ["declined", "action", None])
def test_what_was_not_charged_is_not_given_back(
    subject: Subject, order: Make, what: What | None
) -> None:
    asked = order(what or "ok")
    if what is not None:
        subject.provider.charge(asked)
    given = subject.provider.refund(f"refund_{asked.invoice}", asked, PRICE)
    assert outcome(given) == ("failed", "gateway_error")
    assert given.decline_code == "nothing_charged"


def test_a_refund_in_another_currency_is_not_given(subject: Subject, order: Make) -> None:
    asked = order()
    subject.provider.charge(asked)
    dollars = Money(minor=1, currency="USD")
    given = subject.provider.refund(f"refund_{asked.invoice}", asked, dollars)
    assert (given.failure, given.decline_code) == ("gateway_error", "currency_differs")
    assert subject.refunded(asked) == 0


@pytest.mark.parametrize("seed", sliced(range(120), every=20))
def test_an_attempt_is_charged_once_at_most_whatever_is_asked_in_whatever_order(
    subject: Subject, order: Make, seed: int
) -> None:
    chosen = random.Random(seed)
    kinds: list[What] = ["ok", "declined", "action", "lost_reply", "lost_request"]
    asked = order(chosen.choice(kinds))
    ends: set[str] = set()
    for _ in range(chosen.randint(2, 8)):
        provider = chosen.choice([subject.provider, subject.again()])
        word = chosen.choice([*ASKED, None])
        try:
            if word is None:
                subject.act(asked, success=chosen.random() < 0.5)
                continue
            answer = word(provider, asked)
        except (PaybillError, AssertionError, ValueError):
            continue  # nothing waits for the customer, or a message got lost
        kind = "failed" if answer is None else answer.kind
        ends |= {kind} & OVER
        assert not ends or kind in OVER
    assert len(ends) <= 1
    charged = subject.charged(asked.invoice)
    assert charged in ([], [PRICE.minor])
    if ends:
        assert charged == [PRICE.minor] * ("succeeded" in ends)
