"""Texts that are a language to Terraform, through every field that somebody may fill. Each is refused or stays a text."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.domain.canonical import canonical
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.accounts import CloudAccount, Clouds, FromEnvironment
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stack_contract import VARIABLES
from control_plane.provisioning.stacks import StackRequest

GIVEN: Final[dict[str, Any]] = {
    "tenant": "acme",
    "run_id": "run-1",
    "cloud": "aws",
    "isolation": "silo",
    "plan": "pro",
    "region": "eu",
    "workspace": "0a1b2c3d",
}
FREE: Final = ("tenant", "plan", "region", "workspace", "run_id")
HOSTILE: Final = (
    '${file("/etc/hostname")}',
    "${terraform.workspace}",
    "%{ if true }yes%{ endif }",
    "$${literal}",
    "%%{literal}",
    "$$${deep}",
    '"}} resource "terraform_data" "evil" {}',
    "'; DROP TABLE tenant; --",
    "<<EOT\n${var.plan}\nEOT\n",
    "a\nb = 1\n",
    "a\r\nb",
    "\ttab",
    "`touch /tmp/x`",
    "$(touch /tmp/x)",
    "back\\slash \\n \\u0041",
    "nul\0nul",
    "\x1b[31mred",
    "right\u202eto left",
    "line\u2028separator",
    "e\u0301 not composed",
    "\U0001f511",
    "/../../etc/passwd",
    "-var=plan=enterprise",
    "null",
    "true",
    "1e400",
    '{"a": 1}',
    "x" * 5000,
)
RECORDING: Final = "\n".join(
    [
        *(f'variable "{name}" {{ type = {kind} }}' for name, kind in VARIABLES.items()),
        'resource "terraform_data" "seen" {',
        "  input = {",
        *(f"    {name} = var.{name}" for name in VARIABLES),
        "  }",
        "}",
        'output "database" { value = terraform_data.seen.output }',
        "",
    ]
)


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return binary.find(None, os.environ["PATH"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that checks nothing and keeps whatever it is given."""
    folder = tmp_path_factory.mktemp("recording")
    (folder / "main.tf").write_text(RECORDING)
    return folder


def kept(
    terraform: Terraform, recording: Path, root: Path, request: StackRequest, shared: dict[str, str]
) -> Any:
    """What stands in the state after an apply, of each variable."""
    account = CloudAccount.model_construct(
        account="one",
        regions=(request.region,),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        provider={},
        endpoints={},
        shared={request.region: shared},
        state=CloudAccount.model_fields["state"].default,
    )
    sites = Sites(
        root,
        Clouds.model_construct(mirror=None, accounts={"aws": account}),
        fetch_credentials=lambda _source: {},
    )
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=sites,
        module_overrides={("aws", "silo"): recording},
    )
    provisioner.apply(request, provisioner.observe(request).artifact)
    state = sites.site(request).state
    assert state is not None
    (resource,) = json.loads(state.read_text("utf-8"))["resources"]
    return resource["instances"][0]["attributes"]["input"]["value"]


def composed(value: Any) -> Any:
    """As Terraform keeps texts: in normal form C."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {composed(name): composed(one) for name, one in items.items()}
    return unicodedata.normalize("NFC", value)


def unchecked(**changed: str) -> StackRequest:
    """A request past its own rules: what our writing does with texts is seen without them."""
    values: dict[str, Any] = {"size": "small"} | GIVEN | changed
    return StackRequest.model_construct(None, **values)


def test_every_hostile_text_that_gets_past_all_rules_ends_as_a_text(
    terraform: Terraform, recording: Path, tmp_path: Path
) -> None:
    shared = {f"s{number}": text for number, text in enumerate(HOSTILE)}
    for number, text in enumerate(HOSTILE[:3]):
        request = unchecked(plan=text, region=f"r{text}", workspace=f"w{text}", size=text)
        seen = kept(terraform, recording, tmp_path / str(number), request, shared)
        assert seen == composed(stacks.variables(request, shared))


TEXTS: Final = st.text(
    alphabet=st.characters(exclude_categories=["Cs"])
    | st.sampled_from("${}%\"'\\`\n\r\t<>#/*~()[]"),
    max_size=30,
)


@pytest.mark.long
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(TEXTS.map(composed), TEXTS, min_size=10, max_size=40),
    st.fixed_dictionaries(dict.fromkeys(("plan", "region", "workspace", "size"), TEXTS)),
)
def test_any_text_that_gets_past_all_rules_ends_as_a_text(
    terraform: Terraform,
    recording: Path,
    tmp_path_factory: pytest.TempPathFactory,
    shared: dict[str, str],
    fields: dict[str, str],
) -> None:
    request = unchecked(**fields)
    seen = kept(terraform, recording, tmp_path_factory.mktemp("any"), request, shared)
    assert seen == composed(stacks.variables(request, shared))


@pytest.mark.parametrize("name", FREE)
def test_no_hostile_text_gets_past_the_rules_of_a_request(name: str) -> None:
    for text in (one for one in HOSTILE if not one.isalnum()):  # a mere word may be a plan's name
        for given_ in (text, f"{GIVEN[name]}{text}", f"{text}{GIVEN[name]}"):
            with pytest.raises(ValidationError):
                StackRequest.model_validate(GIVEN | {name: given_})
    with pytest.raises(ValidationError):
        StackRequest.model_validate(GIVEN | {name: f"{GIVEN[name]}\n"})


@given(st.sampled_from(FREE), TEXTS)
def test_what_a_request_takes_has_no_sign_of_a_language_in_it(name: str, text: str) -> None:
    try:
        request = StackRequest.model_validate(GIVEN | {name: text})
    except ValidationError:
        return
    assert not set(getattr(request, name)) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )


@pytest.mark.parametrize("name", ["cloud", "isolation", "size"])
def test_a_word_out_of_a_list_is_one_of_them(name: str) -> None:
    for text in HOSTILE:
        with pytest.raises(ValidationError):
            StackRequest.model_validate(GIVEN | {name: text})


def test_only_the_contracts_variables_reach_terraform_and_no_name_that_people_choose() -> None:
    assert set(stacks.variables(StackRequest.model_validate(GIVEN))) == set(VARIABLES)
    assert "display_name" not in StackRequest.model_fields
    with pytest.raises(ValidationError):
        StackRequest.model_validate(GIVEN | {"display_name": "Acme ${x}"})


def test_a_providers_settings_are_texts_to_terraform_itself(
    terraform: Terraform, tmp_path: Path
) -> None:
    texts = [*(text for text in HOSTILE if "\0" not in text), "$", "%", "$$", "$%{", "%${", "${"]
    account = CloudAccount(
        account="one",
        regions=("eu",),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        provider={"some": {text: text for text in texts}},
    )
    sites = Sites(tmp_path, Clouds(accounts={"aws": account}), fetch_credentials=lambda _source: {})
    provider: Any = sites.site(StackRequest.model_validate(GIVEN)).provider
    # A place where Terraform reads templates, as it does in a provider's block.
    document = {"locals": {"x": provider[1]["some"]}, "output": {"x": {"value": "${local.x}"}}}
    (tmp_path / "main.tf.json").write_bytes(canonical(document))
    said = tmp_path / "said"
    for words in (("init",), ("apply", "-auto-approve"), ("output", "-json", "x")):
        with said.open("wb") as out:
            subprocess.run(
                [*terraform.argv, *words],
                cwd=tmp_path,
                check=True,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env={"HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
                timeout=60,
            )
    assert json.loads(said.read_bytes()) == composed({text: text for text in texts})
