"""A provider for trying out and for tests: what becomes of a payment follows from its method. Not money.

It remembers in a file of its own, as a provider does: a process of ours that is killed makes it
forget nothing. What the names of its methods do stands in the reference, under Payments.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from control_plane.billing.provider import (
    Answer,
    AnswerKind,
    Order,
    check_method,
    order_differs,
    unavailable,
    unknown,
)
from control_plane.domain.money import Money
from control_plane.domain.payment import FailureClass
from control_plane.errors import NotFound, Unavailable
from control_plane.store.sqlite import SqliteStore

NAME: Final = "sandbox"
_PAGES: Final = "https://sandbox.invalid/act/"  # where nobody is
# What each method's name does; `<n>` stands for 1 to 99, behind `sandbox_action` for 1 to 9.
METHODS: Final[tuple[str, ...]] = (
    "sandbox_ok",
    "sandbox_declined",
    "sandbox_stolen",
    "sandbox_declined_<n>",
    "sandbox_action",
    "sandbox_action_<n>",
    "sandbox_action_failed_<n>",
    "sandbox_pending",
    "sandbox_timeout",
    "sandbox_lost",
    "sandbox_down",
    "sandbox_unreachable",
    "sandbox_refund_pending",
    "sandbox_refund_failed",
    "sandbox_refund_timeout",
    "sandbox_refund_lost",
)

# `sealed`: it was asked for, had never come, and is refused from then on.
_Fate: TypeAlias = Literal[
    "succeeded", "failed", "action_required", "pending", "canceled", "sealed"
]
_COUNTED = re.compile(r"sandbox_declined_([1-9][0-9]?)")
_ACTED = re.compile(r"sandbox_action(_failed)?_([1-9])")
_DECLINED: tuple[_Fate, FailureClass, str] = ("failed", "soft_decline", "insufficient_funds")
_FATES: Mapping[str, tuple[_Fate, FailureClass | None, str]] = MappingProxyType(
    {
        "sandbox_ok": ("succeeded", None, ""),
        "sandbox_declined": _DECLINED,
        "sandbox_stolen": ("failed", "hard_decline", "stolen_card"),
        "sandbox_action": ("action_required", None, ""),
        "sandbox_pending": ("pending", None, ""),
        "sandbox_timeout": ("succeeded", None, ""),
        "sandbox_down": ("failed", "gateway_error", "processing_error"),
        "sandbox_refund_pending": ("succeeded", None, ""),
        "sandbox_refund_failed": ("succeeded", None, ""),
        "sandbox_refund_timeout": ("succeeded", None, ""),
        "sandbox_refund_lost": ("succeeded", None, ""),
    }
)
_NO_METHOD: tuple[_Fate, FailureClass, str] = ("failed", "no_method", "no_such_method")
_WAITING: Final = frozenset({"action_required", "pending"})

_METADATA = MetaData()
_PAYMENT = Table(
    "sandbox_payment",
    _METADATA,
    Column("attempt", String, primary_key=True),
    Column("invoice", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("amount_minor", Integer, nullable=False),
    Column("currency", String, nullable=False),
    Column("method", String, nullable=False),
    Column("fate", String, nullable=False),
    Column("failure", String),
    Column("decline_code", String, nullable=False),
    Column("place", Integer, nullable=False, unique=True),
)
_REFUND = Table(
    "sandbox_refund",
    _METADATA,
    Column("id", String, primary_key=True),
    Column("attempt", String, nullable=False),
    Column("amount_minor", Integer, nullable=False),
    Column("currency", String, nullable=False),
    Column("decline_code", String, nullable=False),
)
_QUESTION = Table(
    "sandbox_question",
    _METADATA,
    # An attempt that waits for the customer, or a refund.
    Column("id", String, primary_key=True),
    Column("asked", Integer, nullable=False),
)


class SandboxProvider:
    """The sandbox over the file at `path`, which is made where it is missing. Several may share it."""

    def __init__(self, path: Path) -> None:
        if path.parent.is_dir():
            # It holds which tenant pays how: nobody else's to read, as the rest of the state.
            path.touch(mode=0o600)
        self._store = SqliteStore(path)
        with self._write() as connection:
            _METADATA.create_all(connection)

    @property
    def name(self) -> str:
        return NAME

    def charge(self, order: Order) -> Answer:
        check_method(self, order)
        reference = order.method.reference
        if reference == "sandbox_unreachable":
            raise unavailable("the sandbox cannot be reached with this method")
        with self._write() as connection:
            known = _payment(connection, order)
            if known is None and reference != "sandbox_lost":
                _add(connection, order, *_fate(connection, order))
        if known is not None:
            return _answer(known)
        if reference in {"sandbox_timeout", "sandbox_lost"}:
            raise unknown("the sandbox does not say what became of the payment")
        with self._read() as connection:
            return _answer(_held(connection, order))

    def ask(self, order: Order) -> Answer | None:
        check_method(self, order)
        with self._write() as connection:
            known = _payment(connection, order)
            if known is None:
                _add(connection, order, "sealed", "gateway_error", "")
            elif known.fate == "action_required" and _acts_now(connection, order):
                known = _payment(connection, order)
        return None if known is None or known.fate == "sealed" else _answer(known)

    def cancel(self, order: Order) -> Answer | None:
        with self._write() as connection:
            known = _payment(connection, order)
            if known is not None and known.fate == "action_required":
                _change(connection, order.attempt, "canceled")
        return self.ask(order)

    def refund(self, refund_id: str, order: Order, amount: Money) -> Answer:
        check_method(self, order)
        reference = order.method.reference
        with self._write() as connection:
            first = _asked(connection, refund_id) == 1
            lost = first and reference == "sandbox_refund_lost"
            code = "" if lost else _given_back(connection, refund_id, order, amount)
        if lost or (first and reference == "sandbox_refund_timeout"):
            raise unknown("the sandbox does not say what became of the refund")
        if code:
            return Answer(kind="failed", failure="gateway_error", decline_code=code)
        waits = first and reference == "sandbox_refund_pending"
        return Answer(kind="pending" if waits else "succeeded", reference=f"sandbox_{refund_id}")

    def complete(self, attempt: str) -> None:
        """The customer acts, or the bank pays: what waits has succeeded. NotFound where none waits."""
        self._settle(attempt, "succeeded", None, "")

    def abandon(self, attempt: str) -> None:
        """The customer does not act, or the bank does not pay: it fails. NotFound where none waits."""
        self._settle(attempt, *_DECLINED)

    def charged(self, invoice: str) -> tuple[Money, ...]:
        """Each amount that was charged for the invoice, in the order in which it was asked for."""
        charges = (
            select(_PAYMENT.c.amount_minor, _PAYMENT.c.currency)
            .where(_PAYMENT.c.invoice == invoice, _PAYMENT.c.fate == "succeeded")
            .order_by(_PAYMENT.c.place)
        )
        with self._read() as connection:
            return tuple(
                Money(minor=row.amount_minor, currency=row.currency)
                for row in connection.execute(charges)
            )

    def refunded(self, attempt: str) -> int:
        """What was given back of an attempt, in minor units of its currency."""
        with self._read() as connection:
            return _refunded(connection, attempt)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _settle(self, attempt: str, fate: _Fate, failure: FailureClass | None, code: str) -> None:
        with self._write() as connection:
            held = select(_PAYMENT.c.fate).where(_PAYMENT.c.attempt == attempt)
            if connection.execute(held).scalar() not in _WAITING:
                raise NotFound("no such attempt waits at the sandbox")
            _change(connection, attempt, fate, failure, code)

    @contextmanager
    def _write(self) -> Generator[Connection]:
        with _reachable(), self._store.write() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Generator[Connection]:
        with _reachable(), self._store.read() as connection:
            yield connection


@contextmanager
def _reachable() -> Generator[None]:
    try:
        yield
    except Unavailable as error:
        raise unavailable("the sandbox's file cannot be used") from error


def _fate(connection: Connection, order: Order) -> tuple[_Fate, FailureClass | None, str]:
    reference = order.method.reference
    counted = _COUNTED.fullmatch(reference)
    if _ACTED.fullmatch(reference):
        return _FATES["sandbox_action"]
    if counted is None:
        return _FATES.get(reference, _NO_METHOD)
    before = select(func.count()).where(
        _PAYMENT.c.invoice == order.invoice, _PAYMENT.c.method == reference
    )
    declined = connection.execute(before).scalar_one() < int(counted[1])
    return _DECLINED if declined else ("succeeded", None, "")


def _acts_now(connection: Connection, order: Order) -> bool:
    acted = _ACTED.fullmatch(order.method.reference)
    if acted is None or _asked(connection, order.attempt) < int(acted[2]):
        return False
    fate, failure, code = _DECLINED if acted[1] else _FATES["sandbox_ok"]
    _change(connection, order.attempt, fate, failure, code)
    return True


def _asked(connection: Connection, named: str) -> int:
    # How often, with this time.
    mine = _QUESTION.c.id == named
    raised = update(_QUESTION).where(mine).values(asked=_QUESTION.c.asked + 1)
    if not connection.execute(raised).rowcount:
        connection.execute(insert(_QUESTION).values(id=named, asked=1))
    return int(connection.execute(select(_QUESTION.c.asked).where(mine)).scalar_one())


def _add(
    connection: Connection, order: Order, fate: _Fate, failure: FailureClass | None, code: str
) -> None:
    place = select(func.coalesce(func.max(_PAYMENT.c.place), 0) + 1)
    connection.execute(
        insert(_PAYMENT).values(
            attempt=order.attempt,
            invoice=order.invoice,
            tenant=order.tenant,
            amount_minor=order.amount.minor,
            currency=order.amount.currency,
            method=order.method.reference,
            fate=fate,
            failure=failure,
            decline_code=code,
            place=connection.execute(place).scalar_one(),
        )
    )


def _change(
    connection: Connection,
    attempt: str,
    fate: _Fate,
    failure: FailureClass | None = None,
    code: str = "",
) -> None:
    changed = update(_PAYMENT).where(_PAYMENT.c.attempt == attempt)
    connection.execute(changed.values(fate=fate, failure=failure, decline_code=code))


def _payment(connection: Connection, order: Order) -> Row[Any] | None:
    found = connection.execute(select(_PAYMENT).where(_PAYMENT.c.attempt == order.attempt)).first()
    if found is not None:
        held = (found.invoice, found.tenant, found.amount_minor, found.currency)
        if held != (order.invoice, order.tenant, order.amount.minor, order.amount.currency):
            raise order_differs()
    return found


def _held(connection: Connection, order: Order) -> Row[Any]:
    found = _payment(connection, order)
    if found is None:
        raise unavailable("the sandbox's file was removed")
    return found


def _answer(row: Row[Any]) -> Answer:
    kind: AnswerKind = "failed" if row.fate == "sealed" else row.fate
    return Answer(
        kind=kind,
        failure=row.failure,
        reference=f"sandbox_{row.attempt}",
        decline_code=row.decline_code,
        action_url=f"{_PAGES}{row.attempt}" if kind == "action_required" else "",
    )


def _given_back(connection: Connection, refund_id: str, order: Order, amount: Money) -> str:
    known = connection.execute(select(_REFUND).where(_REFUND.c.id == refund_id)).first()
    asked = (order.attempt, amount.minor, amount.currency)
    if known is not None:
        if (known.attempt, known.amount_minor, known.currency) != asked:
            raise order_differs()
        return str(known.decline_code)
    code = _refund_fault(connection, order, amount)
    row = dict(zip(("attempt", "amount_minor", "currency"), asked, strict=True))
    connection.execute(insert(_REFUND).values(id=refund_id, decline_code=code, **row))
    return code


def _refunded(connection: Connection, attempt: str) -> int:
    given = select(func.coalesce(func.sum(_REFUND.c.amount_minor), 0)).where(
        _REFUND.c.attempt == attempt, _REFUND.c.decline_code == ""
    )
    return int(connection.execute(given).scalar_one())


def _refund_fault(connection: Connection, order: Order, amount: Money) -> str:
    held = _payment(connection, order)
    if held is None or held.fate != "succeeded":
        return "nothing_charged"
    if order.method.reference == "sandbox_refund_failed":
        return "refund_refused"
    if amount.currency != order.amount.currency:
        return "currency_differs"
    if not 1 <= amount.minor <= order.amount.minor - _refunded(connection, order.attempt):
        return "amount_too_large"
    return ""
