"""Why a Terraform command failed, as a class out of a closed list. Never what Terraform said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Reason:
    """A class of failure and whether the same command may succeed later."""

    code: str
    retryable: bool
    text: str


STALE: Final = Reason("stale_plan", False, "the saved plan is stale")
OTHER_VERSION: Final = Reason("stale_plan", False, "another Terraform version made the plan")
OTHER: Final = Reason("terraform_error", False, "Terraform gave an error of no known class")
PROVIDER_SILENT: Final = Reason("provider_silent", True, "a provider did not answer in time")
STATE_UNSAVED: Final = Reason("state_not_saved", True, "the state could not be written")
BAD_MODULE: Final = Reason("bad_module", False, "the module is not valid")
BAD_VALUE: Final = Reason("invalid_variable", False, "a variable breaks a rule")

NETWORK: Final = Reason("network", True, "a service does not answer")

# What Terraform and the clouds' providers say where an answer did not come whole, or not in time.
_UNANSWERED: Final = (
    "connection refused",
    "connection reset by peer",
    "use of closed network connection",
    "exceeded maximum number of attempts",
    "i/o timeout",
    "no such host",
    "TLS handshake timeout",
)
# What Terraform says of a module that is not valid.
_MISTAKES: Final = (
    "Terraform encountered problems during initiali",
    "Unsupported argument",
    "Unsupported block type",
    "Unsupported attribute",
    "Missing required argument",
    "Incorrect attribute value type",
    "Invalid resource type",
    "Invalid use of ephemeral value",
    "Reference to undeclared",
    "At least 1 ",
)

_PATTERNS: Final[tuple[tuple[str, Reason], ...]] = (
    ("Saved plan is stale", STALE),
    ("Saved plan does not match the given state", STALE),
    ("cannot be transferred between different Terraform versions", OTHER_VERSION),
    (
        "Error acquiring the state lock",
        Reason("state_locked", True, "another run holds the state"),
    ),
    (
        "Cannot import non-existent remote object",
        Reason("no_such_resource", False, "the resource is not there"),
    ),
    ("execution halted", Reason("interrupted", True, "it was interrupted")),
    ("no space left on device", Reason("disk_full", True, "the disk is full")),
    ("Invalid value for variable", BAD_VALUE),
    (
        "match any of the checksums",
        Reason("provider_changed", False, "a provider is not the one in the lock file"),
    ),
    (
        "Failed to query available provider packages",
        Reason("no_provider", False, "a provider is not available"),
    ),
    (
        "Unsupported Terraform Core version",
        Reason("wrong_version", False, "the module wants another Terraform"),
    ),
    ("timeout while waiting for plugin", PROVIDER_SILENT),
    ("Plugin did not respond", PROVIDER_SILENT),
    ("Failed to load plugin schemas", PROVIDER_SILENT),
    ("Failed to save state", STATE_UNSAVED),
    ("Error releasing the state lock", STATE_UNSAVED),
    *((said, NETWORK) for said in _UNANSWERED),
    (
        "local-exec provisioner error",
        Reason("provisioner", False, "a provisioner failed"),
    ),
    ("Resource precondition failed", BAD_VALUE),
    *((said, BAD_MODULE) for said in _MISTAKES),
)


def classify(*paths: Path) -> Reason:
    """The class of what a command said in its files; only the last 256 KiB of each are read."""
    text = said(*paths)
    return next((reason for pattern, reason in _PATTERNS if pattern in text), OTHER)


def said(*paths: Path) -> str:
    """The last 256 KiB of each file as one line, with single spaces: for patterns, and for no one's eyes."""
    text = "\n".join(_tail(path) for path in paths)
    # Terraform frames and wraps its messages, and as JSON it escapes their line ends.
    plain = text.translate({ord(char): " " for char in "│╷╵"}).replace("\\n", " ")
    return " ".join(plain.split())


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES).decode("utf-8", "replace")
