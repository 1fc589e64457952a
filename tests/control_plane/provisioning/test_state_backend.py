"""Where states lie: no two stacks share one, and no secret stands in a backend's settings. Not Terraform's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.canonical import canonical
from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.errors import BadInput
from control_plane.provisioning.accounts import BackendKind, StateBackend
from control_plane.provisioning.stacks import StackRequest
from control_plane.provisioning.state_backend import backend, state_path

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
    made = block(kind, request_of(), bucket="states")
    assert made["word"] == {"cos": "s3"}.get(kind, kind)
    assert made["bucket"] == "states"
    if kind != "pg":
        assert made[NAMED_BY[kind]].startswith("paybill/0a1b2c3d/acme/aws-silo")


def test_a_state_in_s3_is_locked_and_encrypted_and_one_on_azure_needs_no_key() -> None:
    aws = block("s3", request_of(), bucket="states", region="eu-central-1")
    assert (aws["use_lockfile"], aws["encrypt"]) == (True, True)
    assert block("cos", request_of())["use_lockfile"] is True
    assert block("azurerm", request_of(), use_azuread_auth=False)["use_azuread_auth"] is True


@pytest.mark.parametrize("kind", AFAR)
@pytest.mark.parametrize(
    "name",
    ["key", "prefix", "schema_name", "path", "workspace_key_prefix", "use_lockfile", "encrypt"],
)
def test_a_setting_that_is_ours_to_make_is_refused(kind: BackendKind, name: str) -> None:
    with pytest.raises(BadInput) as error:
        block(kind, request_of(), bucket="b", **{name: PLANTED})
    assert error.value.field == f"state.settings.{name}"
    assert PLANTED not in str(error.value)


SECRETS: Final = (
    *("access_key", "secret_key", "token", "sas_token", "client_secret", "credentials"),
    *("conn_str", "access_token", "encryption_key", "sse_customer_key", "password"),
    *("private_key", "private_key_password", "client_certificate", "client_certificate_password"),
    *("oidc_token", "oidc_request_token"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_among_the_settings_is_refused_at_any_depth(name: str) -> None:
    for settings in ({name: PLANTED}, {"assume_role": {name: PLANTED}}, {"a": [{name: PLANTED}]}):
        with pytest.raises(BadInput) as error:
            block("s3", request_of(), **settings)
        assert error.value.field.startswith("state.settings.")
        assert error.value.field.endswith(name)
        assert PLANTED not in str(error.value)


def test_the_token_of_a_web_identity_is_refused_and_its_file_is_not() -> None:
    inside = {"role_arn": "arn:aws:iam::1:role/x", "web_identity_token": PLANTED}
    with pytest.raises(BadInput, match="web_identity_token"):
        block("s3", request_of(), assume_role_with_web_identity=inside)
    inside = {"role_arn": "arn:aws:iam::1:role/x", "web_identity_token_file": "/run/token"}
    assert block("s3", request_of(), assume_role_with_web_identity=inside)["word"] == "s3"


def test_a_local_state_takes_no_setting_of_an_account() -> None:
    assert set(block("local", request_of(), path="/tmp/elsewhere", key="x")) == {"path", "word"}
    assert block("local", request_of(), path="/tmp/elsewhere")["path"].startswith(str(ROOT))
