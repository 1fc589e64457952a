"""The errors of the policies room: why there is no decision. Not a denial: that is a `Decision`.

GateError
├── GateUnavailable   deadline, dead policy engine, or an answer that makes no sense
├── BadFacts          the request or the policy's output breaks the contract between them
│   └── Untranslatable    a rule about rows that no filter can say
├── BundleError       the policy sources cannot become a bundle
└── BinaryNotFound    there is no policy engine to run
"""

from __future__ import annotations

import re

_OPERATOR = re.compile(r"[A-Za-z_][\w-]{0,63}")


class GateError(Exception):
    """No decision could be had, so nothing is allowed."""

    code = "gate_error"


class GateUnavailable(GateError):
    """The policy engine does not answer, or its answer does not fit the question. Retryable."""

    code = "policy_engine_unavailable"


class BadFacts(GateError):
    """The question or the policy's output breaks a rule: names the part, never the value."""

    code = "bad_facts"

    def __init__(self, part: str, rule: str) -> None:
        """`part` is what is wrong, `rule` what it should have been."""
        super().__init__(f"{part}: {rule}")
        self.part = part
        self.rule = rule


class Untranslatable(BadFacts):
    """A plan holds what the filter language does not know: names the operator, never a value."""

    def __init__(self, part: str, operator: str) -> None:
        """`part` is the resource's kind; `operator` is the engine's name of what it may not use."""
        self.operator = operator if _OPERATOR.fullmatch(operator) else "unknown"
        super().__init__(part, f"a filter of rows cannot say {self.operator}")


class BundleError(GateError):
    """The policy sources break the rules of the house; carries every finding."""

    code = "bundle_error"

    def __init__(self, *findings: str) -> None:
        """Each finding names a file and a rule."""
        super().__init__("; ".join(findings))
        self.findings = findings


class BinaryNotFound(GateError):
    """No supported policy engine was found, and none could be fetched."""

    code = "binary_not_found"
