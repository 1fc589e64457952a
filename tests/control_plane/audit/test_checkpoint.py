"""Signed notes and checkpoints against published ones. Not the log that they are about."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.checkpoint import Checkpoint, parse_and_verify, parse_text, sign_note
from control_plane.audit.note import (
    NoteError,
    open_note,
    parse_verifier_key,
    sign_text,
    verifier_key_of,
)

# The example note of the Go checksum database's documentation, with its key pair.
NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
NEUMANN_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NEUMANN_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of the signed-note specification.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
    "OBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# A checkpoint that the Go checksum database published, and its verifier key.
SUMDB_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_NOTE = (
    "go.sum database tree\n15368405\n/g9am3I6YWNKaZX/jkne1fqd9zEyjss+JXyPXG0WfkY=\n\n"
    "— sum.golang.org Az3grqJGUaSGukG9p8nI2vKgiFn7qGHxn0W+mrwyI6Gz3F0t1J3LzmWk/p96Ybf295"
    "EjwdSwlzgijq5WA9d1Ded7owM=\n"
)

NAME = "paybill.example/log"
SEED = bytes(range(32))
KEY = verifier_key_of(NAME, SEED).text()
CHECKPOINT = Checkpoint(NAME, 7, hashlib.sha256(b"root").digest())
NOTE = sign_note(CHECKPOINT, NAME, SEED)


def refusal(note: str, key: str = KEY) -> str:
    with pytest.raises(NoteError) as refused:
        parse_and_verify(note, key)
    return refused.value.code


def test_the_documented_note_is_signed_byte_for_byte() -> None:
    assert sign_text(NEUMANN_TEXT, "PeterNeumann", NEUMANN_SEED) == (
        NEUMANN_TEXT + "\n" + NEUMANN_LINE
    )
    assert verifier_key_of("PeterNeumann", NEUMANN_SEED).text() == NEUMANN_KEY


def test_the_specifications_example_note_opens() -> None:
    assert open_note(SPEC_NOTE, parse_verifier_key(SPEC_KEY)) == "This is an example message.\n"


def test_a_published_checkpoint_of_another_log_verifies() -> None:
    found = parse_and_verify(SUMDB_NOTE, SUMDB_KEY)
    assert (found.origin, found.size) == ("go.sum database tree", 15368405)


def test_a_checkpoint_comes_back_from_its_note() -> None:
    assert parse_and_verify(NOTE, KEY) == CHECKPOINT
    assert NOTE.startswith(f"{NAME}\n7\n")


def test_the_root_of_an_empty_tree_is_a_checkpoint_of_size_0() -> None:
    empty = Checkpoint(NAME, 0, hashlib.sha256(b"").digest())
    assert parse_and_verify(sign_note(empty, NAME, SEED), KEY) == empty


@given(data=st.data())
def test_a_note_with_any_one_character_changed_does_not_verify(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    other = data.draw(st.characters().filter(lambda c: c != NOTE[at]))
    with pytest.raises(NoteError):
        parse_and_verify(NOTE[:at] + other + NOTE[at + 1 :], KEY)


@given(cut=st.integers(0, len(NOTE) - 1))
def test_a_note_cut_short_does_not_verify(cut: int) -> None:
    with pytest.raises(NoteError):
        parse_and_verify(NOTE[:cut], KEY)


def test_a_cosignature_by_an_unknown_key_is_passed_over() -> None:
    assert parse_and_verify(NOTE + NEUMANN_LINE, KEY) == CHECKPOINT


def test_a_second_false_signature_of_the_known_key_spoils_the_note() -> None:
    other = sign_note(Checkpoint(NAME, 8, CHECKPOINT.root), NAME, SEED)
    assert refusal(NOTE + other.split("\n\n")[1]) == "note_signature"


def test_a_note_by_another_key_of_the_same_name_is_told_apart() -> None:
    assert refusal(sign_note(CHECKPOINT, NAME, bytes(32))) == "note_unknown_key"


def test_a_signature_over_another_text_is_told_apart() -> None:
    assert refusal(NOTE.replace("\n7\n", "\n8\n")) == "note_signature"


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\nroot\n", "a\n-1\nroot\n", "a\n1\nroot\n", "a\n1\nAAAA\n", "\n1\nAAAA\n"],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_text(text)


def test_extension_lines_are_passed_over_but_never_empty() -> None:
    assert parse_text(CHECKPOINT.text() + "extension\n") == CHECKPOINT
    with pytest.raises(NoteError):
        parse_text(CHECKPOINT.text() + "\nextension\n")


@pytest.mark.parametrize("origin", ["", "two\nlines", "a\n\nb", "bell\x07"])
def test_an_origin_that_cannot_be_read_back_is_not_signed(origin: str) -> None:
    with pytest.raises(NoteError):
        sign_note(Checkpoint(origin, 7, CHECKPOINT.root), NAME, SEED)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb"])
def test_a_key_name_with_spaces_or_plus_signs_is_refused(name: str) -> None:
    with pytest.raises(NoteError):
        sign_note(CHECKPOINT, name, SEED)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        "name+00000000",
        KEY.replace("+", "+0", 1),
        KEY + "A",
        KEY[:-4],
        "other" + KEY,
        KEY.rsplit("+", 1)[0].upper() + "+" + KEY.rsplit("+", 1)[1],
        NEUMANN_KEY.replace("c74f20a3", "c74f20a4"),
    ],
)
def test_a_malformed_verifier_key_is_refused(key: str) -> None:
    assert refusal(NOTE, key) == "verifier_key"
