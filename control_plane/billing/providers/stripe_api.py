"""The calls to Stripe through its own SDK, each with our errors. Not what their answers mean.

The SDK is an extra: it is imported here alone, when a client is made. It never retries by itself,
since whoever retries must know what the first try has done.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from control_plane.billing.provider import unavailable, unknown
from control_plane.billing.providers.stripe_intent import CloseReason, Intent, read_intent
from control_plane.errors import BadInput, PaybillError

if TYPE_CHECKING:
    import stripe

API_BASE: Final = "https://api.stripe.com"
TIMEOUT_S: Final = 30.0
REFUNDS_MAX: Final = 100

_CONFLICT = 409
_REPLAYED = "idempotent-replayed"
_DEPTH_MAX = 8  # of an error within an error


class Rejected(Exception):
    """Stripe has answered, and does not do it. `code` is Stripe's, or the kind of the error.

    Not an error of ours: whoever calls decides what it means.
    """

    def __init__(
        self, kind: Literal["card", "key_reused", "invalid"], code: str, param: str
    ) -> None:
        super().__init__(f"Stripe refused the request: {kind}")
        self.kind = kind
        self.code = code
        self.param = param


class StripeApi:
    """Stripe's API with one key. `timeout_s` bounds the connection, and each wait for an answer.

    Every call raises Unavailable where nothing was done, and Unknown where that cannot be told; one
    that cannot charge, and comes before any that can, raises Unavailable for both, unless another
    request of the same key is under way. Those that change something raise Rejected where Stripe
    says no.
    """

    def __init__(
        self, key: SecretStr, *, api_base: str = API_BASE, timeout_s: float = TIMEOUT_S
    ) -> None:
        _check_base(api_base)
        try:
            import stripe
        except ModuleNotFoundError:
            raise unavailable("Stripe's SDK is missing: install paybill[stripe]") from None
        self._transport = stripe.RequestsClient(timeout=timeout_s)
        self._client = stripe.StripeClient(
            key.get_secret_value(),
            base_addresses={"api": api_base.rstrip("/")},
            max_network_retries=0,
            http_client=self._transport,
        )

    def create(
        self, key: str, amount: int, currency: str, customer: str | None, metadata: dict[str, str]
    ) -> Intent:
        """Make an intent that nobody has tried to pay; the same key gives the one made before."""
        given: stripe.params.PaymentIntentCreateParams = {
            "amount": amount,
            "currency": currency,
            "metadata": metadata,
            # A page to be sent back to is not known here.
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "expand": ["latest_charge"],
        }
        if customer is not None:
            given["customer"] = customer
        with _faults(may_charge=False):
            made = self._client.v1.payment_intents.create(given, {"idempotency_key": key})
        return self._fresh(made, may_charge=False)

    def retrieve(self, reference: str, *, may_charge: bool = False) -> Intent:
        """The intent as it is now."""
        with _must_know(may_charge=may_charge), _faults(may_charge=may_charge):
            found = self._client.v1.payment_intents.retrieve(
                reference, {"expand": ["latest_charge"]}
            )
        return _intent(found, may_charge=may_charge)

    def confirm(self, reference: str, key: str, payment_method: str) -> Intent:
        """Pay the intent, with nobody there to act. The one call here by which money moves in."""
        given: stripe.params.PaymentIntentConfirmParams = {
            "payment_method": payment_method,
            "off_session": True,
            "expand": ["latest_charge"],
        }
        with _faults(may_charge=True):
            done = self._client.v1.payment_intents.confirm(
                reference, given, {"idempotency_key": key}
            )
        return self._fresh(done, may_charge=True)

    def close(self, reference: str, reason: CloseReason | None, *, may_charge: bool) -> Intent:
        """Close the intent, so that it never succeeds."""
        given: stripe.params.PaymentIntentCancelParams = {"expand": ["latest_charge"]}
        if reason is not None:
            given["cancellation_reason"] = reason
        with _faults(may_charge=may_charge):
            closed = self._client.v1.payment_intents.cancel(reference, given)
        return _intent(closed, may_charge=may_charge)

    def search(self, name: str, value: str) -> Intent | None:
        """An intent whose metadata say so, or None. Stripe's index may lie a while behind."""
        with _must_know(may_charge=False), _faults(may_charge=False):
            page = self._client.v1.payment_intents.search(
                {"query": f"metadata['{name}']:'{value}'", "limit": 1}
            )
        return self.retrieve(page.data[0].id) if page.data else None

    def refunds(self, reference: str) -> list[Mapping[str, Any]]:
        """The refunds of an intent, at most 100."""
        with _must_know(may_charge=False), _faults(may_charge=False):
            page = self._client.v1.refunds.list({"payment_intent": reference, "limit": REFUNDS_MAX})
        return [one.to_dict() for one in page.data]

    def refund(
        self, reference: str, key: str, amount: int, metadata: dict[str, str]
    ) -> Mapping[str, Any]:
        """Give back that much of the intent; the same key gives the refund made before."""
        with _faults(may_charge=True):
            made = self._client.v1.refunds.create(
                {"payment_intent": reference, "amount": amount, "metadata": metadata},
                {"idempotency_key": key},
            )
        return made.to_dict()

    def shut(self) -> None:
        """Close the connections of this thread."""
        transport: Any = self._transport  # its own types leave this out
        transport.close()

    def _fresh(self, answered: stripe.PaymentIntent, *, may_charge: bool) -> Intent:
        # What is given again for a key is the first answer, and says nothing of today.
        response = answered.last_response
        headers = {} if response is None else {k.lower(): v for k, v in response.headers.items()}
        if headers.get(_REPLAYED) == "true":
            return self.retrieve(answered.id, may_charge=may_charge)
        return _intent(answered, may_charge=may_charge)


def _intent(found: stripe.PaymentIntent, *, may_charge: bool) -> Intent:
    try:
        return read_intent(found.to_dict())
    except ValidationError:
        raise _unclear(may_charge=may_charge) from None


def _unclear(*, may_charge: bool) -> PaybillError:
    if may_charge:
        return unknown("Stripe did not say what became of the payment")
    return unavailable("Stripe does not answer as it must")


@contextmanager
def _faults(*, may_charge: bool) -> Generator[None]:
    # What Stripe says of an error may hold what was asked, so nothing of its text goes on.
    import stripe

    try:
        yield
    except stripe.CardError as error:
        raise Rejected("card", _code(error), _param(error)) from None
    except stripe.IdempotencyError as error:
        raise Rejected("key_reused", _code(error), "") from None
    except stripe.RateLimitError:
        raise unavailable("Stripe takes no more requests for now") from None
    except stripe.InvalidRequestError as error:
        raise Rejected("invalid", _code(error), _param(error)) from None
    except (stripe.AuthenticationError, stripe.PermissionError):
        raise unavailable("Stripe does not take the key") from None
    except stripe.APIConnectionError as error:
        raise _unclear(may_charge=may_charge and not _never_left(error)) from None
    except stripe.StripeError as error:
        # Somebody else is putting the same thing to Stripe at this moment: what that does is open.
        at_once = error.http_status == _CONFLICT
        raise _unclear(may_charge=may_charge or at_once) from None


@contextmanager
def _must_know(*, may_charge: bool) -> Generator[None]:
    # A question about what we have made ourselves: a no comes from another account's key.
    try:
        yield
    except Rejected:
        raise _unclear(may_charge=may_charge) from None


def _code(error: stripe.StripeError) -> str:
    return error.code or "invalid_request"


def _param(error: object) -> str:
    return str(getattr(error, "param", None) or "")


def _never_left(error: BaseException) -> bool:
    """Whether no connection was made, so that nothing can have been sent."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    current: BaseException | None = error
    for _ in range(_DEPTH_MAX):
        if current is None:
            break
        causes = (current, getattr(current, "reason", None))
        if any(isinstance(one, (NewConnectionError, ConnectTimeoutError)) for one in causes):
            return True
        current = current.__cause__ or current.__context__
    return False


def _check_base(base: str) -> None:
    parts = urlsplit(base)
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    plain = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not (bare and parts.hostname and parts.path in {"", "/"}) or not (
        parts.scheme == "https" or plain
    ):
        raise BadInput("api_base", "must be https://host, or http:// to this machine alone")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
