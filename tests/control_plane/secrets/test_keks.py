"""What wraps data keys: the workspace's own key, an age identity, a program. Each opens its own and no other's."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.errors import BadInput, PaybillError, Refused, Unavailable
from control_plane.secrets.age_kek import AgeKek
from control_plane.secrets.box import new_keypair
from control_plane.secrets.command_kek import CommandKek
from control_plane.secrets.exchange import exchange
from control_plane.secrets.file_kek import FileKek
from control_plane.secrets.key_encryption import KeyEncryption, KeyRing, Wrapped
from tests.support.age_keys import encrypted_to, new_identity, recipient_of

KEY: Final = bytes(range(32))
SERVICE: Final = """
import base64, hashlib, json, sys
asked = json.load(sys.stdin)
mask = hashlib.sha256(b"a key service's key" + asked["reference"].encode()).digest()
def turned(text):
    content = base64.b64decode(text)
    return bytes(a ^ b for a, b in zip(content, mask))
if asked["operation"] == "wrap":
    body = {"key": base64.b64encode(turned(asked["key"])).decode(), "context": asked["context"]}
    print(json.dumps({"wrapped": base64.b64encode(json.dumps(body).encode()).decode()}))
else:
    try:
        body = json.loads(base64.b64decode(asked["wrapped"]))
        same = body["context"] == asked["context"]
        key = turned(body["key"])
    except Exception:
        same = False
    if same:
        print(json.dumps({"key": base64.b64encode(key).decode()}))
    else:
        print(json.dumps({"error": "refused"}))
"""


def file_kek() -> FileKek:
    private, public = new_keypair()
    return FileKek(public, private)


def age_kek() -> AgeKek:
    return AgeKek(f"# a comment\n{new_identity()}\n")


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """The words that start a program of this text."""

    def written(text: str) -> tuple[str, ...]:
        path = tmp_path / "program.py"
        path.write_text(text)
        return sys.executable, os.fspath(path)

    return written


def command_kek(
    argv: tuple[str, ...], reference: str = "kms/1", deadline_s: float = 10
) -> CommandKek:
    return CommandKek(argv, reference, {"PATH": os.defpath}, deadline_s)


@pytest.fixture(params=["file", "age", "command"])
def kek(
    request: pytest.FixtureRequest, program: Callable[[str], tuple[str, ...]]
) -> tuple[KeyEncryption, KeyEncryption]:
    """A key of a kind, and another of the same kind."""
    if request.param == "file":
        return file_kek(), file_kek()
    if request.param == "age":
        return age_kek(), age_kek()
    argv = program(SERVICE)
    return command_kek(argv), command_kek(argv, "kms/2")


def code_of(deed: Callable[[], object]) -> str:
    try:
        deed()
    except PaybillError as error:
        return error.code
    return ""


def test_a_wrapped_key_opens_under_its_key_and_context(
    kek: tuple[KeyEncryption, KeyEncryption],
) -> None:
    one, other = kek
    wrapped = one.wrap(KEY, b"acme")
    assert KEY not in wrapped
    assert one.unwrap(wrapped, b"acme") == KEY
    assert one.reference != other.reference
    assert code_of(lambda: one.unwrap(wrapped, b"globex")) == "kek_refused"
    if isinstance(one, CommandKek):
        assert other.unwrap(wrapped, b"acme") != KEY
    else:
        assert code_of(lambda: other.unwrap(wrapped, b"acme")) == "kek_refused"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from([file_kek, age_kek]))
def test_no_flipped_bit_of_a_wrapped_key_opens(
    data: st.DataObject, kind: Callable[[], KeyEncryption]
) -> None:
    one = kind()
    wrapped = bytearray(one.wrap(KEY, b"acme"))
    # Two of age's files are seldom of one length.
    place = data.draw(st.integers(0, 9_999)) % len(wrapped)
    wrapped[place] ^= 1 << data.draw(st.integers(0, 7))
    assert code_of(lambda: one.unwrap(bytes(wrapped), b"acme")) == "kek_refused"


def test_a_ring_wraps_under_one_and_opens_what_any_of_its_keys_has_wrapped() -> None:
    old, new, stranger = file_kek(), age_kek(), file_kek()
    ring = KeyRing(new, [old])
    before = KeyRing(old).wrap(KEY, b"acme")
    now = ring.wrap(KEY, b"acme")
    assert (before.kek, now.kek) == (old.reference, new.reference)
    assert [ring.unwrap(one, b"acme") for one in (before, now)] == [KEY, KEY]
    unknown = KeyRing(stranger).wrap(KEY, b"acme")
    assert code_of(lambda: ring.unwrap(unknown, b"acme")) == "kek_unknown"
    # Under another one's name it opens no more.
    assert code_of(lambda: ring.unwrap(Wrapped(now.content, old.reference), b"acme")) == (
        "kek_refused"
    )


def test_what_opens_to_no_data_key_is_refused() -> None:
    kek = file_kek()
    short = Wrapped(kek.wrap(b"too short", b"acme"), kek.reference)
    with pytest.raises(Refused) as caught:
        KeyRing(kek).unwrap(short, b"acme")
    assert caught.value.code == "kek_refused"


def test_an_age_identity_is_named_by_its_recipient_and_never_shown() -> None:
    identity = new_identity()
    kek = AgeKek(identity)
    assert kek.reference == f"age:{recipient_of(identity)}"
    assert identity[20:] not in f"{kek!r} {kek.__dict__} {kek.reference}"


@pytest.mark.parametrize("text", ["", "age1notasecret", "AGE-SECRET-KEY-1NOTONE", "\n" * 100])
def test_what_is_no_age_identity_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        AgeKek(text)
    assert "NOTONE" not in str(caught.value)
    assert "notasecret" not in str(caught.value)


def test_an_age_file_of_someone_elses_making_is_no_data_key() -> None:
    identity = new_identity()
    planted = encrypted_to(identity, b"x" * 64)
    assert code_of(lambda: AgeKek(identity).unwrap(planted, b"acme")) == "kek_refused"


# The program ---------------------------------------------------------------------------------


PROGRAMS: Final[dict[str, str]] = {
    "says nothing": "",
    "says no JSON": "print('ok')",
    "says no object": "print('[1]')",
    "says another thing": "print('{\"other\": 1}')",
    "says no base64": 'print(\'{"wrapped": "***", "key": "***"}\')',
    "says nothing in it": 'print(\'{"wrapped": ""}\')',
    "gives the key back": "import sys, json\nprint(json.dumps({'wrapped': json.load(sys.stdin)['key']}))",
    "ends with an error": "import sys\nsys.exit(3)",
    "says too much": "print('x' * 100_000)",
    "does not end": "import threading\nthreading.Event().wait(60)",
    "ends its output and not itself": "import sys, os, threading\nos.close(1)\nthreading.Event().wait(60)",
    "says too much in a wrapped key": (
        "import base64, json\n"
        "print(json.dumps({'wrapped': base64.b64encode(bytes(20_000)).decode()}))"
    ),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_that_gives_no_answer_is_told_as_such(
    program: Callable[[str], tuple[str, ...]], what: str
) -> None:
    kek = command_kek(program(PROGRAMS[what]), deadline_s=1)
    began_s = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        kek.wrap(KEY, b"acme")
    assert caught.value.code == "kek_unavailable"
    assert base64.b64encode(KEY).decode() not in str(caught.value)
    assert time.monotonic() - began_s < 10


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable) as caught:
        command_kek(("/nowhere/at/all",)).wrap(KEY, b"acme")
    assert caught.value.code == "kek_unavailable"


def test_a_program_sees_neither_the_key_in_its_arguments_nor_our_environment(
    program: Callable[[str], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYBILL_PLANTED", "a secret")
    argv = program(
        "import json, os, sys\nsys.stdin.read()\nprint(json.dumps([sys.argv, dict(os.environ)]))"
    )
    question = b'{"key": "planted"}'
    given_, environment = json.loads(
        exchange(argv, question, {"PATH": os.defpath, "HOME": "/", "OTHER": "x"}, 10)
    )
    assert given_ == [argv[1]]
    assert {"PATH", "HOME"} <= set(environment)
    assert not {"OTHER", "PAYBILL_PLANTED"} & set(environment)


def test_what_a_program_has_started_ends_with_it(
    program: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    mark = tmp_path / "child.pid"
    argv = program(
        "import subprocess, sys, threading\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({os.fspath(mark)!r}, 'w').write(str(child.pid))\n"
        "print('x' * 100_000, flush=True)\n"
        "threading.Event().wait(60)\n"
    )
    with pytest.raises(Unavailable):
        command_kek(argv, deadline_s=50).wrap(KEY, b"acme")
    pid, end_s = int(mark.read_text()), time.monotonic() + 10
    while time.monotonic() < end_s and _alive(pid):
        os.sched_yield()
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
