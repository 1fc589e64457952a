"""Random lives of a subscription: plans, commands, answers and clocks from one seed. Holds no test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

from control_plane.billing.book import Book, Sources
from control_plane.billing.change_quote import Wanted
from control_plane.billing.clockwork import advance, next_due_at
from control_plane.billing.collecting import begin, take_in
from control_plane.billing.dunning import standing
from control_plane.billing.ending import cancel_later, cancel_now, keep, pause, resume
from control_plane.billing.forecast import collect
from control_plane.billing.plan_change import commit, quote
from control_plane.billing.provider import Answer, settled
from control_plane.billing.starting import start
from control_plane.billing.tax_file import Taxation, TaxFile
from control_plane.domain import canonical
from control_plane.domain.buyer import Buyer
from control_plane.domain.coupon_catalog import CouponCatalog
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.domain.subscription import SUBSCRIPTION, Subscription
from control_plane.domain.terms import Method, Terms
from control_plane.errors import BadInput, NotFound, Refused
from tests.support.books import DAY, HOUR, START, Auditor, Series, facts_of

ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu")
CURRENCIES: Final = ("EUR", "JPY")
_METERS: Final = ("calls", "bytes")
_SEATS_MAX: Final = 40

BUYERS: Final = (
    None,
    Buyer(country="DE"),
    Buyer(country="FR"),
    Buyer(country="FR", business=True, vat_id="FR1"),
    Buyer(country="CA"),
    Buyer(country="US"),
)
_MOVES_OFTEN: Final = 0.15


def random_catalog(random: Random) -> PlanCatalog:
    """Some plans, of several versions, with prices of every model in every currency and interval."""
    plans = [_plan(random, "free", 0, 1, free=True)]
    for rank in range(1, random.randint(3, 5)):
        plans.append(_plan(random, f"plan-{rank}", rank, 1))
        if random.random() < 0.3:
            plans.append(_plan(random, f"plan-{rank}", rank, 2))
    return PlanCatalog.model_validate_json(json.dumps({"plans": plans}))


def rules_of_tax() -> Taxation:
    """Rates that rise and fall, two taxes at once, and countries of which nothing is known."""
    begins = [f"{year}-{month:02}-01" for year in (2026, 2027, 2028) for month in (1, 4, 7, 10)]
    ends = [
        f"{year}-{month}" for year in (2026, 2027) for month in ("03-31", "06-30", "09-30", "12-31")
    ]
    rising = [
        {"percent": f"{percent}", "since": since, **({"until": until} if until else {})}
        for percent, since, until in zip(
            ("19", "16", "20.5", "0", "100", "7", "33.333", "19"),
            begins[:8],
            [*ends[:7], None],
            strict=True,
        )
    ]
    since = {"since": "2026-01-01"}
    countries = [
        {"country": "DE", "zone": "Europe/Berlin", "rates": rising},
        {"country": "FR", "zone": "Europe/Paris", "rates": [{"percent": 20, **since}]},
        {
            "country": "CA",
            "zone": "America/St_Johns",
            "rates": [
                {"percent": one, "name": name, **since}
                for one, name in (("5", "GST"), ("9.975", "QST"))
            ],
        },
    ]
    table = {"version": 1, "country_unknown": "DE", "elsewhere": "untaxed", "countries": countries}
    seller = {"country": "DE"}
    told = {"engine": "table", "seller": seller, "table": table}
    return TaxFile.model_validate_json(json.dumps(told)).taxation()


def coupons_of(catalog: PlanCatalog) -> CouponCatalog:
    """A coupon of every kind: a share or an amount off, for one, some or all periods, plans and times."""
    paid = [one.name for one in catalog.plans if one.charges]
    common: dict[str, Any] = {"title": "Some off"}
    return CouponCatalog.model_validate_json(
        json.dumps(
            {
                "coupons": [
                    {"code": "HALF", **common, "percent_off": "50", "duration": "forever"},
                    {"code": "FREE", **common, "percent_off": "100", "duration": "once"},
                    {
                        "code": "THIRD",
                        **common,
                        "percent_off": "33.333",
                        "duration": "intervals",
                        "intervals": 2,
                        "plans": paid[:1],
                    },
                    {
                        "code": "FIVE",
                        **common,
                        "amount_off": {"minor": 501, "currency": "EUR"},
                        "duration": "intervals",
                        "intervals": 3,
                    },
                    {
                        "code": "YEN",
                        **common,
                        "amount_off": {"minor": 70_001, "currency": "JPY"},
                        "duration": "once",
                        "redeem_by": "2027-01-01T00:00:00Z",
                    },
                    {"code": "NONE", **common, "percent_off": "5", "duration": "once"}
                    | {"redemptions_max": 1},
                ]
            }
        )
    )


def _plan(random: Random, name: str, rank: int, version: int, *, free: bool = False) -> Any:
    meters = [one for one in _METERS if random.random() < 0.4] if not free else []
    parts = [*meters]
    if not free and random.random() < 0.9:
        parts += ["plan", *(["seats"] if random.random() < 0.6 else [])]
        parts += ["extra"] if random.random() < 0.5 else []
    trial = {
        "days": random.randint(1, 20),
        "method_required": random.random() < 0.3,
        "at_trial_end": random.choice(("pause", "cancel")),
    }
    return {
        "name": name,
        "version": version,
        "rank": rank,
        "tier": "any",
        "title": name,
        "isolations": ["pooled"],
        "regions": ["local"],
        "quotas": {"records_max": 10, "seats_max": _SEATS_MAX},
        "entitlements": [{"kind": "metered", "feature": one} for one in meters],
        "add_ons": [{"name": "extra", "title": "Extra", "quantity_max": 3}],
        "pausable": random.random() < 0.7,
        "proration": random.choice(("second", "day")),
        "dunning": {"when_exhausted": random.choice(("unpaid", "cancel"))},
        **({"trial": trial} if not free and random.random() < 0.3 else {}),
        **({"term_intervals": random.randint(1, 4)} if random.random() < 0.15 else {}),
        "charges": [
            {
                "component": part,
                "interval": interval,
                "prices": [{"currency": one, **_price(random, part)} for one in CURRENCIES],
            }
            for part in parts
            for interval in ("month", "year")
        ],
    }


def _price(random: Random, part: str) -> dict[str, Any]:
    flat = {"model": "flat", "amount_minor": random.choice((0, 1, 999, random.randint(1, 200_000)))}
    if part == "plan":
        return flat
    unit = f"{random.randint(0, 900)}.{random.randint(0, 99):02}"
    tiers = [
        {"up_to": random.randint(1, 20), "unit_amount_minor": unit, "amount_minor": 7},
        {"up_to": None, "unit_amount_minor": f"{random.randint(0, 300)}"},
    ]
    minimum = {"minimum_minor": random.randint(1, 500)} if random.random() < 0.3 else {}
    return {
        **minimum,
        **random.choice(
            (
                {"model": "per_seat", "unit_amount_minor": unit},
                {"model": "tiered", "tiers": tiers},
                {"model": "volume", "tiers": tiers},
                {"model": "package", "package_units": 7, "package_amount_minor": unit},
            )
        ),
    }


@dataclass
class Life:
    """One subscription from its beginning on; `random` alone says what happens."""

    random: Random
    catalog: PlanCatalog
    zones: Random | None = None
    """Where set: every instant is given in a zone of its choice, which must change nothing."""
    taxed: Random | None = None
    """Where set: what is billed is taxed, and the customer moves as it says."""
    auditor: Auditor = field(default_factory=Auditor)
    now: datetime = START
    events: int = 0
    refused: int = 0
    book: Book = field(init=False)
    numbers: Series = field(default_factory=Series)
    coupons: CouponCatalog = field(init=False)

    def __post_init__(self) -> None:
        """Agree on something, at some instant."""
        random = self.random
        self.now = START + timedelta(seconds=random.randrange(400 * 86_400))
        self.each_h = random.randint(0, 9)
        terms = Terms(
            currency=random.choice(CURRENCIES),
            interval=random.choice(("month", "month", "year")),
            zone=random.choice(ZONES),
            anchor_at=self.now,
            collection=random.choice(("automatic", "automatic", "by_invoice")),
            seats=random.randint(0, 9),
        )
        offer = random.choice(self.catalog.plans)
        subscription = Subscription(
            id="sub_1",
            tenant="acme",
            plan=offer.name,
            plan_version=offer.version,
            state="scheduled",
            starts_at=self.now + random.choice((timedelta(), DAY)),
            terms=terms,
            never_suspend=random.random() < 0.1,
        )
        if random.random() < 0.8:
            method = Method(provider="sandbox", reference="card")
            subscription = subscription.model_copy(
                update={"method": method, "method_set_at": self.now}
            )
        self.coupons = coupons_of(self.catalog)
        sources = Sources(
            self.catalog,
            self.numbers.next,
            self.usage,
            unfit=self._unfit,
            coupons=self.coupons,
            redeemed=lambda code: int(code in self.book.redemptions or code == "NONE"),
            tax=None if self.taxed is None else rules_of_tax(),
        )
        self.book = Book(subscription, sources)
        self.generous = random.random()

    def usage(self, begin: datetime, end: datetime) -> Mapping[str, Decimal]:
        """So much an hour of each meter."""
        hours = (end - START) // HOUR - (begin - START) // HOUR
        return {one: Decimal(hours * self.each_h) for one in _METERS}

    def _unfit(self, offer: PlanOffer, terms: Terms) -> tuple[str, ...]:
        return ("seats",) if (offer.rank + terms.seats) % 5 == 0 else ()

    def answer(self, attempt: PaymentAttempt) -> Answer:
        """What the provider says."""
        if self.random.random() < self.generous:
            return Answer(kind="succeeded", reference="r")
        kind = self.random.choice(("failed", "failed", "failed", "pending", "canceled"))
        if kind == "canceled" and attempt.state != "processing":
            kind = "failed"
        if kind != "failed":
            return Answer.model_validate({"kind": kind, "reference": "r"})
        failure = self.random.choice(
            ("soft_decline", "soft_decline", "hard_decline", "gateway_error")
        )
        return Answer.model_validate({"kind": kind, "failure": failure, "reference": "r"})

    def at(self) -> datetime:
        """Now, in whatever zone it is told."""
        return (
            self.now
            if self.zones is None
            else self.now.astimezone(ZoneInfo(self.zones.choice(ZONES)))
        )

    def live(self, commands: int) -> Life:
        """So many commands, and all that happens between them."""
        for number in range(commands):
            self._pass()
            if self.taxed is not None and self.taxed.random() < _MOVES_OFTEN:
                self.book.revise(buyer=self.taxed.choice(BUYERS))
            self._command(f"c{number}")
            self.book.refresh()
            self._look()
            if self.book.subscription.state in SUBSCRIPTION.terminal and self.random.random() < 0.5:
                break
        return self

    def _look(self) -> None:
        self.events += 1
        self.auditor.look(self.book)
        if self.book.subscription.terms is not None:
            facts = self.book.dunning_facts()
            reached = standing(self.book.offer.dunning, facts, self.now).level
            assert self.book.subscription.gate_level(self.now) == reached, "the gate is the ladder"

    def _pass(self) -> None:
        random = self.random
        due = next_due_at(self.book)
        # On an instant, just before and after it, and anywhere.
        choices = [self.now, self.now + timedelta(seconds=random.randrange(20 * 86_400))]
        if due is not None and due > self.now:
            choices += [due, due - timedelta(microseconds=1), due + timedelta(seconds=1)]
        self.pass_until(max(self.now, random.choice(choices)))

    def pass_until(self, until: datetime) -> None:
        """Every instant until then at which something is due, and what the provider says."""
        for _ in range(5_000):
            due = next_due_at(self.book)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.events += advance(self.book, self.at())
            collect(self.book, self.at(), self.answer)
            self.book.refresh()
            self._look()
        else:
            raise AssertionError("a book comes to rest")
        self.now = until
        advance(self.book, self.at())

    def _command(self, reference: str) -> None:
        before = facts_of(self.book), dict(self.numbers.given)
        try:
            self.random.choice(_COMMANDS)(self, reference)
        except (Refused, BadInput, NotFound):
            self.refused += 1
            after = facts_of(self.book), dict(self.numbers.given)
            assert before == after, "what is refused leaves nothing behind"

    def digest(self) -> str:
        """What came of it, in short."""
        return canonical.digest([str(facts_of(self.book)), self.events])


def _change(life: Life, reference: str) -> None:
    random, book = life.random, life.book
    wanted: dict[str, Any] = {
        "plan": random.choice((book.subscription.plan, random.choice(life.catalog.plans).name))
    }
    if random.random() < 0.6:
        wanted["seats"] = random.randint(0, _SEATS_MAX + 1)
    if random.random() < 0.2:
        wanted["interval"] = random.choice(("month", "year"))
    if random.random() < 0.3:
        count = random.randint(0, 3)
        wanted["add_ons"] = ({"name": "extra", "quantity": count},) if count else ()
    if random.random() < 0.25:
        wanted["coupon"] = random.choice(life.coupons.coupons).code
    _carry_out(life, wanted, reference)


def _redeem(life: Life, reference: str) -> None:
    code = life.random.choice(life.coupons.coupons).code
    _carry_out(life, {"plan": life.book.subscription.plan, "coupon": code}, reference)


def _remove(life: Life, reference: str) -> None:
    code = life.random.choice(sorted(life.book.redemptions) or ["NONE"])
    _carry_out(life, {"plan": life.book.subscription.plan, "remove_coupon": code}, reference)


def _carry_out(life: Life, wanted: Mapping[str, Any], reference: str) -> None:
    book = life.book
    before = facts_of(book)
    at = life.at()
    quoted = quote(book, Wanted.model_validate(wanted), at, reference)
    assert facts_of(book) == before, "a preview changes nothing"
    invoice = commit(book, quoted, at, reference)
    if invoice is not None:
        assert invoice.total_minor == quoted.total_minor, "commit comes to what the preview said"
        carried = [one for one in invoice.lines if one.kind != "credit_carried"]
        assert carried == list(quoted.lines), "and to the same lines"


def _pay(life: Life, _: str) -> None:
    owed = life.book.owed()
    if not owed:
        return
    invoice = life.random.choice(owed)
    attempt = begin(life.book, invoice.id, life.at())
    if attempt.state == "processing" and life.random.random() < 0.9:
        answered = settled(attempt, life.answer(attempt), life.at())
        take_in(life.book, answered, life.at())
        told_again = facts_of(life.book)
        take_in(life.book, answered, life.at())
        assert facts_of(life.book) == told_again, "the same answer twice is one"


def _settle(life: Life, _: str) -> None:
    for one in list(life.book.attempts.values()):
        if one.state in ("unknown", "processing", "action_required"):
            take_in(life.book, settled(one, life.answer(one), life.at()), life.at())


def _method(life: Life, _: str) -> None:
    method = life.random.choice((Method(provider="sandbox", reference="card"), None))
    life.book.revise(method=method, method_set_at=life.at() if method else None)


def _stop_collecting(life: Life, _: str) -> None:
    paused = not life.book.subscription.collection_paused
    life.book.revise(collection_paused=paused)
    if not paused:
        life.auditor.spared = frozenset(one.id for one in life.book.owed())


def _keep(life: Life, _: str) -> None:
    keep(life.book, life.at())


def _resume(life: Life, _: str) -> None:
    resume(life.book, life.at())


def _pause(life: Life, reference: str) -> None:
    until = life.now + timedelta(days=life.random.randint(-1, 40))
    pause(life.book, until, life.at(), reference)


def _cancel_now(life: Life, reference: str) -> None:
    if life.random.random() < 0.04:
        cancel_now(life.book, life.at(), reference)


_COMMANDS: Final[tuple[Callable[[Life, str], None], ...]] = (
    *(_change,) * 8,
    _redeem,
    _remove,
    *(_pay,) * 3,
    *(_settle,) * 2,
    *(_method,) * 2,
    _stop_collecting,
    lambda life, _: start(life.book, life.at()),
    lambda life, _: cancel_later(life.book, life.at()),
    _cancel_now,
    *(_keep,) * 2,
    _pause,
    *(_resume,) * 2,
)
