"""The errors of the control plane: one small tree, each with a stable code. Not outcomes: the server turns them into those.

PaybillError
├── Refused            the rules say no, and the caller may know why
├── NotFound           the object is absent, or the caller may not know that it exists
├── Conflict           another run holds the tenant
├── BadInput           an argument breaks a rule; names field and rule, never the value
├── Failed             nothing remained; retryable or not
├── Unknown            an effect may or may not stand: it must be reconciled first
└── Unavailable        a part that the call needs does not answer
"""

from __future__ import annotations


class PaybillError(Exception):
    """Something went wrong that Paybill knows by name."""

    code = "error"

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])
        if code is not None:
            self.code = code


class Refused(PaybillError):
    """The rules do not allow this."""

    code = "refused"

    def __init__(
        self, message: str | None = None, *, code: str | None = None, rule: str = "", fact: str = ""
    ) -> None:
        super().__init__(message, code=code)
        self.rule = rule
        self.fact = fact


class NotFound(PaybillError):
    """There is no such object."""

    code = "not_found"


class Conflict(PaybillError):
    """Another run holds the tenant."""

    code = "conflict"

    def __init__(self, message: str | None = None, *, run_id: str, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.run_id = run_id


class BadInput(PaybillError):
    """An argument breaks a rule."""

    code = "bad_input"

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Failed(PaybillError):
    """It failed, and nothing remained of it. `retry_after_s` says when a retry is worth a try, where that is known."""

    code = "failed"

    def __init__(
        self,
        message: str | None = None,
        *,
        retryable: bool = False,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class Unknown(PaybillError):
    """Whether the effect stands is not known: it must be reconciled before anything else."""

    code = "unknown"


class Unavailable(PaybillError):
    """A part that this call needs does not answer."""

    code = "unavailable"
