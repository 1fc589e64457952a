"""The reference on webhooks: its tables are those of the code, and its program verifies what is sent. Not its prose."""

from __future__ import annotations

import json
import re
import runpy
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.billing.delivery import WAITS, verdict
from control_plane.billing.inbox import BODY_KEPT, INBOUND, LEASE_S, ROW_KEPT
from control_plane.billing.outbox import BODY_BYTES_MAX, KEPT, PER_ENDPOINT, Message
from control_plane.billing.public_address import PORTS
from control_plane.billing.sender import Reach
from control_plane.billing.webhook_endpoints import ENDPOINTS_MAX, ROTATION_OVERLAP
from control_plane.billing.webhooks import new_secret, sign
from tests.support.pages import Section, code, sections

_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
_FAULTS = re.compile(r'Sent\(Answer\(\), "(\w+)"\)|last_fault="(\w+)"')
OLD, NEW, OTHER = (new_secret(bytes([number]) * 32) for number in range(3))
BODY = b'{"type":"invoice.paid"}'

Verify = Callable[[list[str], Mapping[str, str], bytes], str]


@pytest.fixture(scope="module")
def page(root: Path) -> Mapping[str, Section]:
    return sections((root / "docs" / "reference" / "webhooks.md").read_text())


@pytest.fixture
def verify(page: Mapping[str, Section], tmp_path: Path) -> Verify:
    (program,) = _PYTHON.findall(page["Verify"].text)
    (tmp_path / "program.py").write_text(program)
    found: Verify = runpy.run_path(str(tmp_path / "program.py"))["verify"]
    return found


def test_the_program_verifies_what_is_sent_and_nothing_else(verify: Verify) -> None:
    now = datetime.fromtimestamp(time.time(), UTC)
    ours, other = (one.get_secret_value() for one in (OLD, OTHER))
    headers = sign([NEW, OLD], "msg_1", now, BODY)
    assert verify([ours], headers, BODY) == "msg_1"
    assert verify([other, ours], headers, BODY) == "msg_1"
    for secrets, seen, body in (
        ([other], headers, BODY),
        ([ours], headers, BODY + b" "),
        ([ours], {**headers, "webhook-id": "msg_2"}, BODY),
        ([ours], {**headers, "webhook-signature": "v1,\u00e4"}, BODY),
        ([ours], sign([OLD], "msg_1", now - timedelta(seconds=400), BODY), BODY),
        ([ours], sign([OLD], "msg_1", now + timedelta(seconds=400), BODY), BODY),
    ):
        with pytest.raises(ValueError, match=r"too old|not signed"):
            verify(secrets, seen, body)


def test_the_headers_and_fields_of_a_message_are_told(page: Mapping[str, Section]) -> None:
    headers, fields = page["A message"].tables
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert {code(one) for one in headers.column("header")} == set(sign([NEW], "m", now, b""))
    made = Message(id="m", tenant="acme", kind="invoice.paid", data={}, made_at=now)
    told = {code(one) for one in fields.column("field")}
    assert told == set(json.loads(made.body))
    assert f"{BODY_BYTES_MAX // 1024} KiB" in page["A message"].text


def test_the_answers_mean_what_is_told(page: Mapping[str, Section]) -> None:
    answers, waits, _ = page["Answers"].tables
    final = [int(one) for one in answers.column("status")[2].split(", ")]
    assert final == [status for status in range(100, 1000) if verdict(status) == "final"]
    assert [status for status in range(100, 1000) if verdict(status) == "gone"] == [410]
    assert waits.column("after the one before") == [
        f"{wait // timedelta(seconds=1)} s" for wait in WAITS
    ]
    assert waits.column("attempt") == [str(number) for number in range(1, len(WAITS) + 1)]


def test_every_fault_is_told(page: Mapping[str, Section], root: Path) -> None:
    *_, faults = page["Answers"].tables
    folder = root / "control_plane" / "billing"
    text = (folder / "sender.py").read_text() + (folder / "outbox.py").read_text()
    known = {one or other for one, other in _FAULTS.findall(text)}
    assert {code(one) for one in faults.column("fault")} == known | {"address_not_public"}
    reach = Reach()
    told = "".join(faults.column("why there was no answer"))
    for bound_s in (reach.connect_s, reach.part_s, reach.whole_s):
        assert f"{bound_s:g} s" in told


def test_the_bounds_that_are_told_are_those_of_the_code(page: Mapping[str, Section]) -> None:
    days, hours = timedelta(days=1), timedelta(hours=1)
    where, events = page["Where a message goes"].text, page["Events of providers"].text
    assert f"port {' or '.join(str(one) for one in sorted(PORTS))}" in where
    assert f"at most {ENDPOINTS_MAX} endpoints" in where
    assert f"at most {PER_ENDPOINT} attempts" in where
    assert f"for {ROTATION_OVERLAP // hours} h" in page["Secrets"].text
    assert f"for {KEPT // days} days" in page["Answers"].text
    assert f"after {BODY_KEPT // days} days" in events
    assert f"for {ROW_KEPT // days} days" in events
    assert f"for {LEASE_S} s" in events


def test_every_state_of_an_event_is_told(page: Mapping[str, Section]) -> None:
    (states,) = page["Events of providers"].tables
    assert [code(one) for one in states.column("state")] == list(INBOUND.states)
