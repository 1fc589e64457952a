"""Groups proposed for fields that look personal or secret. Not a decision: names can mislead."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, TypeAlias

from control_plane.data.pulling.names import words_of

ProposedGroup: TypeAlias = Literal["pii", "secret"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET: Final = _words(
    "password passwd passphrase pwd secret secrets token tokens hash hashed digest salt "
    "credential credentials otp totp pin cvv cvc apikey"
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("private", "key"), ("access", "key")})
_PERSONAL: Final = _words(
    "email emails mail phone telephone tel mobile fax address addresses addr street postcode zip "
    "zipcode birth birthday birthdate dob ssn passport ip surname firstname lastname fullname "
    "nickname iban latitude longitude"
)
_PERSONAL_PAIRS: Final = frozenset(
    {
        *(
            (which, "name")
            for which in (
                *("first", "last", "full", "middle", "given", "family", "maiden", "contact"),
                *("display", "legal", "real", "customer", "employee", "user"),
            )
        ),
        ("postal", "code"),
        ("zip", "code"),
        ("e", "mail"),
    }
)
# In a comment fewer words are proof: it may say what is not in the column.
_COMMENT_SECRET: Final = frozenset({"password", "secret", "credential", "credentials"})
_COMMENT_PERSONAL: Final = frozenset({"email", "phone", "birth", "birthday", "pii", "personal"})
_TEXTUAL: Final = frozenset({"string", "text", "uuid", "json"})
_BORN: Final = frozenset({"birth", "birthday", "birthdate", "dob"})
_NUMBERED: Final = frozenset({"phone", "mobile", "fax", "ssn", "zip", "pin"})


def proposed_group(column: str, comment: str, kind: str) -> ProposedGroup | None:
    """The group that a column's name or comment suggests for a field of this kind."""
    words = words_of(column)
    told = frozenset(words_of(comment))
    if kind in {"date", "timestamp"}:
        return "pii" if not _BORN.isdisjoint(words) else None
    if kind == "integer":
        return _of(frozenset(words) & _NUMBERED, frozenset(), frozenset())
    if kind not in _TEXTUAL:
        return None
    pairs = frozenset(pairwise(words))
    return _of(frozenset(words), pairs, told)


def _of(
    words: frozenset[str], pairs: frozenset[tuple[str, str]], told: frozenset[str]
) -> ProposedGroup | None:
    if words & _SECRET or pairs & _SECRET_PAIRS or told & _COMMENT_SECRET:
        return "secret"
    if words & _PERSONAL or pairs & _PERSONAL_PAIRS or told & _COMMENT_PERSONAL:
        return "pii"
    return None
