"""Which clouds' silos take rows is declared strictly, and a connection to them is encrypted unless it stays on the machine."""

from __future__ import annotations

import pytest

from control_plane.errors import BadInput
from control_plane.provisioning.stack_places import is_loopback, parse_places

WHOLE = """\
stacks:
  - cloud: aws
    secret: {kind: account}
    tls: verify-full
    root_certificate: /etc/paybill/rds.pem
    answer_within_s: 900
  - cloud: local
    secret: {kind: folder, path: /etc/paybill/logins}
  - cloud: gcp
    secret: {kind: command, argv: [/usr/local/bin/secret], deadline_s: 20}
  - cloud: oci
    secret: {kind: environment, names: [OWNER]}
"""


def test_what_is_declared_is_read() -> None:
    places = parse_places(WHOLE, "stacks.yaml")
    aws, local = places.of("aws"), places.of("local")
    assert aws is not None
    assert local is not None
    assert (aws.secret.kind, aws.answer_within_s, local.answer_within_s) == ("account", 900, 300)
    assert places.of("azure") is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("stacks: [{cloud: mars, secret: {kind: account}}]", "stacks.0.cloud"),
        ("stacks: [{cloud: gcp, secret: {kind: account}}]", "stacks.0"),
        ("stacks: [{cloud: aws, secret: {kind: pl4nted}}]", "stacks.0.secret"),
        ("stacks: [{cloud: aws}]", "stacks.0.secret"),
        ("stacks: [{cloud: aws, secret: {kind: folder, path: pl4nted}}]", "stacks.0.secret.folder"),
        ("stacks: [{cloud: aws, secret: {kind: account}, tls: disable}]", "stacks.0.tls"),
        ("stacks: [{cloud: aws, secret: {kind: account}, tls: verify-full}]", "stacks.0"),
        (
            "stacks: [{cloud: aws, secret: {kind: account}, root_certificate: /a.pem}]",
            "stacks.0",
        ),
        (
            "stacks: [{cloud: aws, secret: {kind: account}}, {cloud: aws, secret: {kind: account}}]",
            "",
        ),
        ("stacks: [{cloud: aws, secret: {kind: account}, answer_within_s: 0}]", "stacks.0.answer"),
        ("pl4nted: 1", "pl4nted"),
    ],
)
def test_what_breaks_a_rule_is_named_by_field(text: str, named: str) -> None:
    with pytest.raises(BadInput) as told:
        parse_places(text, "stacks.yaml")
    assert f"stacks.yaml: {named}" in str(told.value)


def test_a_connection_is_encrypted_unless_it_stays_on_the_machine() -> None:
    places = parse_places(WHOLE, "stacks.yaml")
    local, aws = places.of("local"), places.of("aws")
    assert local is not None
    assert aws is not None
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert is_loopback(host)
        assert local.connection(host) == {}
        # What is declared holds there too.
        assert aws.connection(host)["sslmode"] == "verify-full"
    for host in ("10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "db"):
        assert not is_loopback(host)
        assert local.connection(host) == {"sslmode": "require"}
    assert aws.connection("db") == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/paybill/rds.pem",
    }
