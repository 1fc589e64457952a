"""The accounts that a worker's user declares: what reads, what is refused, and in which words. Not their use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.isolation import CLOUDS
from control_plane.errors import BadInput
from control_plane.provisioning.accounts import (
    NO_CLOUDS,
    Clouds,
    FromCommand,
    FromEnvironment,
    FromFile,
    parse_clouds,
)

FILE: Final = "clouds.yaml"
PLANTED: Final = "s3cret-planted"
AWS: Final[dict[str, Any]] = {
    "account": "123456789012",
    "regions": ["eu-central-1"],
    "credentials": {"kind": "environment", "names": ["AWS_PROFILE"]},
}
YAML: Final = """\
mirror: /srv/mirror
accounts:
  aws:
    account: "123456789012"
    regions: [eu-central-1, eu-west-1]
    credentials: {kind: file, path: /home/you/aws.json}
    provider: {max_retries: 3, profile: tenant}
    endpoints: {s3: "http://127.0.0.1:9000"}
    shared: {eu-central-1: {bucket: pooled}}
    state: {kind: s3, settings: {bucket: states, region: eu-central-1}}
  gcp:
    account: my-project
    regions: [europe-west3]
    credentials: {kind: command, argv: [pass, show, gcp], deadline_s: 5}
"""


def parsed(account: Any = None, **top: Any) -> Clouds:
    accounts = {"aws": AWS if account is None else account}
    return parse_clouds(json.dumps({"accounts": accounts, **top}), FILE)


def refused(account: Any = None, **top: Any) -> BadInput:
    with pytest.raises(BadInput) as error:
        parsed(account, **top)
    return error.value


def test_a_file_of_accounts_reads() -> None:
    clouds = parse_clouds(YAML, FILE)
    assert clouds.mirror == Path("/srv/mirror")
    aws, gcp = clouds.accounts["aws"], clouds.accounts["gcp"]
    assert aws.credentials == FromFile(kind="file", path=Path("/home/you/aws.json"))
    assert aws.shared["eu-central-1"] == {"bucket": "pooled"}
    assert (aws.state.kind, aws.provider["max_retries"]) == ("s3", 3)
    assert gcp.credentials == FromCommand(
        kind="command", argv=("pass", "show", "gcp"), deadline_s=5
    )
    assert (gcp.state.kind, dict(gcp.state.settings)) == ("local", {})


def test_without_accounts_there_are_none() -> None:
    assert parse_clouds("{}", FILE) == NO_CLOUDS
    assert parsed().accounts["aws"].credentials == FromEnvironment(
        kind="environment", names=("AWS_PROFILE",)
    )


@pytest.mark.parametrize("name", ["account", "regions", "credentials"])
def test_what_an_account_must_say_is_named(name: str) -> None:
    error = refused({key: value for key, value in AWS.items() if key != name})
    assert error.field == f"{FILE}: accounts.aws.{name}"
    assert "required" in error.rule


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"accounnt": PLANTED}, "accounts.aws.accounnt"),
        ({"account": ""}, "accounts.aws.account"),
        ({"account": 123456789012}, "accounts.aws.account"),
        ({"account": "x" * 257}, "accounts.aws.account"),
        ({"regions": []}, "accounts.aws.regions"),
        ({"regions": ["eu"] * 101}, "accounts.aws.regions"),
        ({"regions": [f"EU {PLANTED}"]}, "accounts.aws.regions.0"),
        ({"credentials": {"kind": PLANTED}}, "accounts.aws.credentials"),
        ({"credentials": {"names": ["A"]}}, "accounts.aws.credentials"),
        (
            {"credentials": {"kind": "environment", "names": []}},
            "accounts.aws.credentials.environment.names",
        ),
        (
            {"credentials": {"kind": "environment", "names": [f"a={PLANTED}"]}},
            "accounts.aws.credentials.environment.names.0",
        ),
        (
            {"credentials": {"kind": "file", "path": "/x", "value": PLANTED}},
            "accounts.aws.credentials.file.value",
        ),
        (
            {"credentials": {"kind": "command", "argv": ["x"], "deadline_s": 61}},
            "accounts.aws.credentials.command.deadline_s",
        ),
        (
            {"credentials": {"kind": "command", "argv": []}},
            "accounts.aws.credentials.command.argv",
        ),
        (
            {"credentials": {"kind": "command", "argv": ["x"] * 33}},
            "accounts.aws.credentials.command.argv",
        ),
        (
            {"credentials": {"kind": "command", "argv": PLANTED}},
            "accounts.aws.credentials.command.argv",
        ),
        ({"shared": {"eu-central-1": {"bucket": ""}}}, "accounts.aws.shared.eu-central-1.bucket"),
        ({"shared": {"eu-central-1": {"bucket": 7}}}, "accounts.aws.shared.eu-central-1.bucket"),
        ({"endpoints": {"s3": ["x"]}}, "accounts.aws.endpoints.s3"),
        ({"state": {"kind": PLANTED}}, "accounts.aws.state.kind"),
        ({"state": {"kind": "s3", "bucket": PLANTED}}, "accounts.aws.state.bucket"),
    ],
)
def test_a_mistake_is_named_by_its_field_and_never_by_its_value(
    changed: dict[str, Any], field: str
) -> None:
    error = refused(AWS | changed)
    assert error.field == f"{FILE}: {field}"
    assert error.rule
    assert PLANTED not in str(error)


@pytest.mark.parametrize("part", ["provider", "endpoints", "shared"])
def test_a_name_that_is_none_is_refused(part: str) -> None:
    names = {"a b": "x"}
    given_ = {"eu-central-1": names} if part == "shared" else names
    assert refused(AWS | {part: given_}).field.startswith(f"{FILE}: accounts.aws.{part}")


def test_local_needs_no_account_and_no_other_cloud_is_known() -> None:
    with pytest.raises(BadInput, match="local needs no account"):
        parse_clouds(json.dumps({"accounts": {"local": AWS}}), FILE)
    with pytest.raises(BadInput, match=r"accounts\.nimbus"):
        parse_clouds(json.dumps({"accounts": {"nimbus": AWS}}), FILE)
    every = {cloud: AWS for cloud in CLOUDS if cloud != "local"}
    assert set(parse_clouds(json.dumps({"accounts": every}), FILE).accounts) == set(every)


# Accounts that some tenants have alone ---------------------------------------------------------

OWN: Final = AWS | {"cloud": "aws", "tenants": ["acme"], "account": "210987654321"}


def dedicated(*several: dict[str, Any], **changed: Any) -> Clouds:
    return parsed(None, dedicated=[OWN | changed] if not several else list(several))


def refused_dedicated(*several: dict[str, Any], **changed: Any) -> BadInput:
    with pytest.raises(BadInput) as error:
        dedicated(*several, **changed)
    return error.value


def test_a_tenant_stands_in_its_own_account_and_any_other_in_everybodys() -> None:
    clouds = dedicated(tenants=["acme", "globex"])
    own, everybodys = clouds.dedicated[0], clouds.accounts["aws"]
    assert [clouds.account_of("aws", one) for one in ("acme", "globex", "initech")] == [
        own,
        own,
        everybodys,
    ]
    assert clouds.account_of("gcp", "acme") is None
    alone = parse_clouds(json.dumps({"dedicated": [OWN]}), FILE)
    assert alone.account_of("aws", "acme") is not None
    assert alone.account_of("aws", "initech") is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tenants": []}, "dedicated.0.tenants"),
        ({"tenants": ["Acme Inc"]}, "dedicated.0.tenants.0"),
        ({"tenants": [f"{PLANTED}/x"]}, "dedicated.0.tenants.0"),
        ({"tenants": "acme"}, "dedicated.0.tenants"),
        ({"cloud": PLANTED}, "dedicated.0.cloud"),
        ({"account": ""}, "dedicated.0.account"),
        ({"isolation": PLANTED}, "dedicated.0.isolation"),
    ],
)
def test_a_mistake_in_a_dedicated_account_is_named_by_its_place(
    changed: dict[str, Any], field: str
) -> None:
    error = refused_dedicated(**changed)
    assert error.field == f"{FILE}: {field}"
    assert PLANTED not in str(error)


def test_no_tenant_has_two_accounts_of_a_cloud() -> None:
    other = OWN | {"account": "333333333333"}
    assert "dedicated.1.tenants.1" in str(
        refused_dedicated(OWN, other | {"tenants": ["globex", "acme"]})
    )
    assert "dedicated.0.tenants.1" in str(refused_dedicated(tenants=["acme", "acme"]))
    assert len(dedicated(OWN, other | {"cloud": "gcp"}).dedicated) == 2


def test_two_entries_of_one_account_keep_their_states_in_one_place() -> None:
    s3 = {"kind": "s3", "settings": {"bucket": "states"}}
    again = OWN | {"tenants": ["globex"]}
    assert len(dedicated(OWN, again).dedicated) == 2
    assert "dedicated.1.state" in str(refused_dedicated(OWN, again | {"state": s3}))
    as_everybodys = {"account": AWS["account"]}
    assert "dedicated.0.state" in str(refused_dedicated(**as_everybodys, state=s3))
    assert len(dedicated(**as_everybodys).dedicated) == 1
    # Of another cloud the same id is another account.
    assert len(dedicated(OWN, again | {"cloud": "gcp", "state": s3}).dedicated) == 2


def test_local_has_no_dedicated_account_either() -> None:
    assert "local needs no account" in str(refused_dedicated(cloud="local"))


@pytest.mark.parametrize("text", ["[]", "x", "accounts: [", "a: &x 1\nb: *x", "!!python/none x"])
def test_a_file_that_is_no_object_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(BadInput, match=r"^clouds\.yaml"):
        parse_clouds(text, FILE)


def taken_or_named(account: Any) -> bool:
    try:
        return "aws" in parsed(account).accounts
    except BadInput as error:
        return error.field.startswith(FILE)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_whatever_stands_in_a_field_is_taken_or_refused_by_name(value: Any) -> None:
    for name in ("account", "regions", "credentials", "provider", "shared", "state"):
        assert taken_or_named(AWS | {name: value})


def test_no_account_shows_its_settings_in_a_validation_error() -> None:
    with pytest.raises(ValueError, match="account") as error:
        Clouds.model_validate({"accounts": {"aws": {**AWS, "account": [PLANTED]}}})
    assert PLANTED not in str(error.value)
