"""Where states lie: no two stacks share one, and no secret stands in a backend's settings. Not Terraform's own rules."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.canonical import canonical
from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.errors import BadInput
from control_plane.provisioning import binary, state_settings
from control_plane.provisioning.accounts import BackendKind, StateBackend, parse_clouds
from control_plane.provisioning.stacks import StackRequest
from control_plane.provisioning.state_backend import (
    backend,
    ends_with_its_session,
    state_path,
    variables,
)

ROOT: Final = Path("/srv/paybill/terraform")
PLANTED: Final = "s3cret-planted"
KINDS: Final[tuple[BackendKind, ...]] = get_args(BackendKind)
AFAR: Final = tuple(kind for kind in KINDS if kind != "local")
# What each of Terraform's backends calls the place of one state.
NAMED_BY: Final = {
    "s3": "key",
    "cos": "key",
    "azurerm": "key",
    "oci": "key",
    "gcs": "prefix",
    "pg": "schema_name",
}
TENANTS: Final = st.from_regex(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True)
WORKSPACES: Final = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)


def request_of(**changed: str) -> StackRequest:
    given_: dict[str, Any] = {
        "tenant": "acme",
        "run_id": "run-1",
        "cloud": "aws",
        "isolation": "silo",
        "plan": "pro",
        "region": "eu-central-1",
        "workspace": "0a1b2c3d",
    }
    return StackRequest.model_validate(given_ | changed)


def block(kind: BackendKind, request: StackRequest, **settings: Any) -> dict[str, Any]:
    """The settings of the one block that comes out, with its name as `word`."""
    made = backend(StateBackend(kind=kind, settings=settings), ROOT, request)
    ((word, said),) = made.items()
    assert isinstance(said, dict)
    return {**said, "word": word}


requests = st.builds(
    request_of,
    tenant=TENANTS,
    workspace=WORKSPACES,
    cloud=st.sampled_from(CLOUDS),
    isolation=st.sampled_from(ISOLATIONS),
)


def place_of(kind: BackendKind, request: StackRequest) -> tuple[str, ...]:
    """Whose state it is: a file is its workspace's by its root alone."""
    workspace = "" if kind == "local" else request.workspace
    return (workspace, request.tenant, request.cloud, request.isolation)


@given(st.lists(requests, min_size=2, max_size=8), st.sampled_from(KINDS))
def test_two_requests_share_a_state_only_where_they_are_of_one_stack(
    several: list[StackRequest], kind: BackendKind
) -> None:
    states = {place_of(kind, one): canonical(block(kind, one)) for one in several}
    assert len(set(states.values())) == len(states)


@given(requests, st.sampled_from(KINDS), st.data())
def test_what_is_no_part_of_a_stacks_place_moves_no_state(
    request: StackRequest, kind: BackendKind, data: st.DataObject
) -> None:
    changed = data.draw(
        st.fixed_dictionaries(
            {
                "plan": st.sampled_from(["pro", "basic"]),
                "run_id": st.sampled_from(["run-2", "run-3"]),
                "region": st.sampled_from(["eu-west-1", "us-east-1"]),
                "size": st.sampled_from(["small", "large"]),
            }
        )
    )
    assert block(kind, request) == block(kind, request.model_copy(update=changed))


@given(requests)
def test_a_local_state_lies_below_the_root_in_a_folder_of_its_tenant(request: StackRequest) -> None:
    path = state_path(ROOT, request)
    assert path.is_relative_to(ROOT / request.tenant)
    assert ".." not in path.parts
    assert path.name == "terraform.tfstate"
    assert block("local", request) == {"path": str(path), "word": "local"}


@given(requests)
def test_a_schema_of_postgres_has_a_name_that_is_not_cut_off(request: StackRequest) -> None:
    name = block("pg", request)["schema_name"]
    assert len(name) <= 63
    assert name.replace("_", "").isalnum()


@pytest.mark.parametrize("kind", AFAR)
def test_each_backend_names_its_state_in_its_own_word(kind: BackendKind) -> None:
    given_ = dict.fromkeys(state_settings.PLAIN[kind], "given")
    made = block(kind, request_of(), **given_)
    assert made["word"] == {"cos": "s3"}.get(kind, kind)
    if kind != "pg":
        assert made[NAMED_BY[kind]].startswith("paybill/0a1b2c3d/acme/aws-silo")
    always = {"skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation"}
    ours = {"use_azuread_auth", *(always | {"skip_requesting_account_id"} if kind == "cos" else ())}
    assert {name: made[name] for name in given_.keys() - ours} == dict.fromkeys(
        given_.keys() - ours, "given"
    )


def test_a_state_in_s3_is_locked_and_encrypted_and_one_on_azure_needs_no_key() -> None:
    aws = block("s3", request_of(), bucket="states", region="eu-central-1")
    assert (aws["use_lockfile"], aws["encrypt"]) == (True, True)
    assert block("cos", request_of())["use_lockfile"] is True
    assert block("azurerm", request_of(), use_azuread_auth=False)["use_azuread_auth"] is True


def test_oracles_backend_is_given_its_credentials_under_the_names_that_it_reads() -> None:
    given_ = {"OCI_USER_OCID": "user", "OCI_REGION": "eu", "NOT_OCI_X": "x"}
    assert variables("oci", given_) == {"OCI_user_ocid": "user", "OCI_region": "eu"}
    assert [variables(kind, given_) for kind in KINDS if kind != "oci"] == [{}] * (len(KINDS) - 1)


def test_only_a_databases_lock_ends_with_its_session() -> None:
    ends = {
        kind: ends_with_its_session(backend(StateBackend(kind=kind), ROOT, request_of()))
        for kind in KINDS
    }
    assert [kind for kind, ended in ends.items() if ended] == ["pg"]


# Settings ---------------------------------------------------------------------------------------


def refused(kind: str, settings: Any) -> BadInput:
    """What is said of an account with these settings, in the file that it stands in."""
    account = {
        "account": "one",
        "regions": ["eu"],
        "credentials": {"kind": "environment", "names": ["UNUSED"]},
        "state": {"kind": kind, "settings": settings},
    }
    with pytest.raises(BadInput) as error:
        parse_clouds(json.dumps({"accounts": {"aws": account}}), "clouds.yaml")
    assert error.value.field == "clouds.yaml: accounts.aws.state"
    assert PLANTED not in str(error.value)
    return error.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(state_settings.OURS))
def test_a_setting_that_is_ours_to_make_is_refused(kind: BackendKind, name: str) -> None:
    assert f"settings.{name} Paybill says it" in str(refused(kind, {name: PLANTED}))


# What the documentation of Terraform's backends marks as such, or tells to keep out of files.
SECRETS: Final = (
    *("access_key", "secret_key", "token", "sas_token", "client_secret", "credentials"),
    *("conn_str", "access_token", "encryption_key", "sse_customer_key", "password"),
    *("private_key", "private_key_password", "client_certificate", "client_certificate_password"),
    *("oidc_token", "oidc_request_token", "http_proxy", "https_proxy"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*SECRETS, "anything_else"])
def test_a_secret_and_whatever_is_not_known_are_refused(kind: BackendKind, name: str) -> None:
    assert f"settings.{name} is no setting" in str(refused(kind, {name: PLANTED}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"assume_role": {"token": PLANTED}}, "settings.assume_role.token is no"),
        ({"assume_role": {f"{PLANTED} x": 1}}, "settings.assume_role.? is no"),
        ({"assume_role": {"policy": {"a": PLANTED}}}, "settings.assume_role.policy must"),
        ({"assume_role": {"tags": {"a": [[PLANTED]]}}}, "settings.assume_role.tags must"),
        ({"assume_role": PLANTED}, "settings.assume_role must be an object"),
        (
            {"assume_role_with_web_identity": {"web_identity_token": PLANTED}},
            "settings.assume_role_with_web_identity.web_identity_token is no",
        ),
        ({"endpoints": {"s3": {"password": PLANTED}}}, "settings.endpoints.s3 must"),
        ({"bucket": {"password": PLANTED}}, "settings.bucket must be one value"),
        ({"allowed_account_ids": [{"a": PLANTED}]}, "settings.allowed_account_ids must"),
    ],
)
def test_what_a_setting_holds_is_looked_at_too(settings: Any, said: str) -> None:
    for kind in ("s3", "cos"):
        assert said in str(refused(kind, settings))


def test_what_names_a_role_its_tags_and_the_file_of_its_token_may_be_given() -> None:
    inside = {"role_arn": "arn:aws:iam::1:role/x", "web_identity_token_file": "/run/token"}
    assert block("s3", request_of(), assume_role_with_web_identity=inside)["word"] == "s3"
    role = {"role_arn": "arn:aws:iam::1:role/x", "tags": {"team": "one"}, "policy_arns": ["a", "b"]}
    assert block("s3", request_of(), assume_role=role)["assume_role"] == role


def test_a_local_state_takes_no_setting_of_an_account() -> None:
    assert "settings.path Paybill says it" in str(refused("local", {"path": "/tmp/elsewhere"}))
    assert "settings.bucket is no setting" in str(refused("local", {"bucket": "b"}))


SETTING: Final = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)


@given(st.sampled_from(KINDS), st.dictionaries(SETTING, st.text(max_size=3), max_size=4))
def test_nothing_but_what_is_listed_is_ever_given(kind: str, settings: dict[str, str]) -> None:
    found = state_settings.mistake(kind, settings)
    listed = state_settings.PLAIN[kind] | state_settings.BLOCKS.get(kind, {}).keys()
    assert (found is None) == (settings.keys() <= state_settings.PLAIN[kind])
    assert found is None or found[0] not in listed or found[1] == "must be an object"


@pytest.mark.parametrize("kind", [one for one in AFAR if one != "cos"])
def test_every_setting_that_may_be_given_is_one_that_terraform_knows(
    kind: BackendKind, tmp_path: Path
) -> None:
    terraform = binary.find(None, os.environ["PATH"] if kind != "oci" else "/nowhere")
    known = [*state_settings.PLAIN[kind], *state_settings.BLOCKS.get(kind, {})]
    given_ = {**dict.fromkeys(known), "unheard_of": 1}
    file = {"terraform": {"backend": {kind: given_}}}
    (tmp_path / "backend.tf.json").write_text(json.dumps(file))
    done = subprocess.run(
        [*terraform.argv, "init", "-no-color", "-input=false"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "is named" in line]
    assert said == ['No argument or block type is named "unheard_of".']
