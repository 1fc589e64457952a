"""The contract of a cloud's adapter, over every cloud, through its own SDK. Not what is one cloud's alone.

Of each test one cloud in three always runs, another one from test to test. The others, and the rarer
paths, are marked `sweep`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

import pytest

from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds import pages
from control_plane.provisioning.clouds.choose import adapter_for
from control_plane.provisioning.clouds.eyes import Part
from control_plane.provisioning.clouds.port import Check, CloudAdapter
from control_plane.provisioning.clouds.sdk import Patience
from control_plane.provisioning.stacks import labels
from tests.clouds.bench import OTHER_WORKSPACE, PLANTED, WORKSPACE, Bench, asked_for
from tests.clouds.server import WORDS, Trouble

pytestmark = pytest.mark.slice_of(3)

PATIENCE = Patience(connect_s=2.0, read_s=5.0)
HASTE = Patience(connect_s=0.5, read_s=0.5)


def adapter(
    bench: Bench,
    credentials: Mapping[str, str] | None = None,
    patience: Patience = PATIENCE,
    **changes: object,
) -> CloudAdapter:
    account = CloudAccount.model_validate({**bench.account.model_dump(), **changes})
    return adapter_for(bench.cloud, account, credentials or bench.credentials, patience)


def bad(checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    return [(one.name, one.about) for one in checks if not one.ok]


# preflight --------------------------------------------------------------------------------------


def test_an_account_with_room_passes(bench: Bench) -> None:
    checks = adapter(bench).preflight(asked_for(bench))
    assert bad(checks) == []
    names = [one.name for one in checks]
    assert names[:3] == ["identity", "region", "name"]
    assert ("quota" in names) is bench.has_quota


def test_credentials_of_another_account_are_told_and_nothing_more(bench: Bench) -> None:
    checks = adapter(bench, account=bench.other_account).preflight(asked_for(bench))
    assert bad(checks) == [("identity", "account")]
    assert len(checks) == 1


@pytest.mark.parametrize(
    "region", [pytest.param("not-named-1", marks=pytest.mark.sweep), "named-but-unknown-1"]
)
def test_a_region_that_is_not_named_or_not_known_is_told(bench: Bench, region: str) -> None:
    named = (*bench.regions, "named-but-unknown-1")
    checks = adapter(bench, regions=named).preflight(asked_for(bench, region=region))
    assert bad(checks) == [("region", region)]


@pytest.mark.parametrize("foreign", [True, pytest.param(False, marks=pytest.mark.sweep)])
def test_a_name_that_another_has_is_told(bench: Bench, foreign: bool) -> None:
    eyes_of = adapter(bench)
    names = [one.about for one in eyes_of.preflight(asked_for(bench)) if one.name == "name"]
    bench.take(names[0], foreign=foreign)
    told = bad(eyes_of.preflight(asked_for(bench)))
    if bench.cloud == "ibm" and not foreign:  # a bucket there bears nothing to tell it by
        assert told == []
    else:
        assert told == [("name", names[0])]


@pytest.mark.sweep
def test_a_name_that_the_tenant_has_already_is_no_obstacle(bench: Bench) -> None:
    bench.stand(asked_for(bench))
    checks = adapter(bench).preflight(asked_for(bench))
    assert bad(checks) == []
    assert {one.said for one in checks if one.name == "name"} == {"this tenant has it"}


def test_no_room_is_told(bench: Bench) -> None:
    bench.fill()
    looks = adapter(bench)
    told = bad(looks.preflight(asked_for(bench)))
    assert [name for name, _about in told] == ["quota"] * bench.has_quota
    bench.stand(asked_for(bench))
    assert bad(looks.preflight(asked_for(bench))) == []  # what stands needs no more room


def test_what_a_pooled_stack_stands_on_must_stand(bench: Bench) -> None:
    request, looks = asked_for(bench, isolation="pooled"), adapter(bench)
    if bench.cloud != "aws":  # its network stands from the beginning, having no id before
        assert len(bad(looks.preflight(request))) == 2
    bench.stand_shared()
    checks = looks.preflight(request)
    assert bad(checks) == []
    shared = {one.about for one in checks if one.name == "shared"}
    assert shared == set(bench.shared) - {"unknown"}


# verify -----------------------------------------------------------------------------------------


def test_a_stack_that_stands_and_is_labelled_passes(bench: Bench) -> None:
    request = asked_for(bench)
    checks = adapter(bench).verify(request, bench.stand(request))
    assert bad(checks) == []
    assert {one.about for one in checks if one.name == "stands"} >= set(bench.parts)
    labelled = {one.about for one in checks if one.name == "labels"} - {"labels"}
    assert labelled >= set(bench.parts) - bench.bare - {"database"}
    assert not labelled & bench.bare


def test_each_part_that_lost_its_labels_or_is_gone_is_named(bench: Bench) -> None:
    request, looks = asked_for(bench), adapter(bench)
    outputs = bench.stand(request)
    labelled: list[Part] = [part for part in bench.parts if part not in bench.bare]
    for part in labelled:
        bench.unlabel(part)
    # A silo's database is found by its labels: one without them is none.
    expected = {("labels", part) for part in labelled if part != "database"}
    assert expected | {("stands", "database")} == set(bad(looks.verify(request, outputs)))
    for part in bench.parts:
        bench.remove(part)
        assert ("stands", part) in bad(looks.verify(request, outputs))


@pytest.mark.sweep
def test_outputs_of_another_request_are_told(bench: Bench) -> None:
    outputs = bench.stand(asked_for(bench))
    changed = asked_for(bench).model_copy(update={"plan": "other"})
    assert ("labels", "labels") in bad(adapter(bench).verify(changed, outputs))


@pytest.mark.sweep
def test_what_is_shared_need_not_bear_a_tenants_labels(bench: Bench) -> None:
    request = asked_for(bench, isolation="pooled")
    bench.stand_shared()
    outputs = {
        "database": {"engine": "postgres", "secret": None},
        "storage": {"name": bench.shared_storage, "prefix": "p/"},
        "network": bench.shared["network_id"],
        "labels": labels(request),
    }
    assert bad(adapter(bench).verify(request, outputs)) == []


# owned ------------------------------------------------------------------------------------------


def test_everything_of_a_workspace_is_found_with_type_and_import_id(bench: Bench) -> None:
    bench.stand(asked_for(bench))
    found = adapter(bench).owned(WORKSPACE)
    assert {one.labels["paybill_tenant"] for one in found} == {"acme"}
    assert all(one.type and one.import_id and one.name for one in found)
    assert len({(one.type, one.import_id) for one in found}) == len(found)
    assert len(found) >= len(set(bench.parts) - bench.bare)


@pytest.mark.sweep
def test_a_tenants_own_is_told_from_anothers(bench: Bench) -> None:
    bench.stand(asked_for(bench, "acme"))
    bench.stand(asked_for(bench, "globex"))
    looks = adapter(bench)
    both = looks.owned(WORKSPACE)
    acme, globex = looks.owned(WORKSPACE, "acme"), looks.owned(WORKSPACE, "globex")
    assert {one.labels["paybill_tenant"] for one in acme} == {"acme"}
    assert len(acme) + len(globex) == len(both)
    assert looks.owned(WORKSPACE, "initech") == ()


def test_another_workspaces_tenant_of_the_same_name_is_not_ours(bench: Bench) -> None:
    bench.stand(asked_for(bench, workspace=OTHER_WORKSPACE))
    looks = adapter(bench)
    assert looks.owned(WORKSPACE) == ()
    assert looks.owned(WORKSPACE, "acme") == ()
    assert len(looks.owned(OTHER_WORKSPACE, "acme")) > 1


def test_every_page_is_read(bench: Bench) -> None:
    count = bench.page_items * 2 + 1
    bench.crowd(WORKSPACE, count)
    found = adapter(bench).owned(WORKSPACE, "crowd")
    assert len({one.import_id for one in found}) == count


@pytest.mark.sweep
def test_a_list_beyond_the_bound_is_no_list(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.crowd(WORKSPACE, 5)
    monkeypatch.setattr(pages, "ITEMS_MAX", 4)
    with pytest.raises(Unavailable) as told:
        adapter(bench).owned(WORKSPACE)
    assert told.value.code == "cloud_list_too_long"


# what goes wrong --------------------------------------------------------------------------------


def test_each_credential_that_is_missing_is_named(bench: Bench) -> None:
    for name in bench.credentials:
        rest = {key: value for key, value in bench.credentials.items() if key != name}
        with pytest.raises(Unavailable, match=name) as told:
            adapter_for(bench.cloud, bench.account, rest)
        assert told.value.code == "credentials_missing"


def test_wrong_credentials_are_refused(bench: Bench) -> None:
    for wrong in bench.wrong_credentials:
        with pytest.raises(Unavailable) as told:
            adapter(bench, wrong).preflight(asked_for(bench))
        assert told.value.code == "credentials_refused"
        assert not any(value in str(told.value) for value in wrong.values())


@pytest.mark.parametrize(
    ("troubles", "patience"),
    [
        (("broken", 500, 401, 403, 429, 503, "list", "cut"), PATIENCE),
        (("slow",), HASTE),
    ],
    ids=["answers", "silence"],
)
def test_an_answer_that_is_none_has_a_code_and_none_of_its_words(
    bench: Bench,
    troubles: tuple[Trouble, ...],
    patience: Patience,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    looks = adapter(bench, patience=patience)
    for trouble in troubles:
        bench.server.asked.clear()
        with bench.server.troubled(trouble, bench.is_token), pytest.raises(Unavailable) as told:
            looks.owned(WORKSPACE)
        refused = trouble in {401, 403}
        assert told.value.code == ("credentials_refused" if refused else "cloud_unavailable")
        assert len([one for one in bench.server.asked if not bench.is_token(one)]) == 1
        out, err = capfd.readouterr()
        for text in (str(told.value), caplog.text, out, err):
            assert PLANTED not in text
            assert WORDS not in text


@pytest.mark.sweep
def test_a_preflight_that_gets_no_answer_says_so(bench: Bench) -> None:
    looks = adapter(bench)
    with bench.server.troubled(500, bench.is_token), pytest.raises(Unavailable) as told:
        looks.preflight(asked_for(bench))
    assert told.value.code == "cloud_unavailable"


@pytest.mark.sweep
def test_a_token_that_is_not_given_for_now_is_no_refusal(bench: Bench) -> None:
    looks = adapter(bench, patience=HASTE)
    for trouble in (500, "broken", "cut", "slow"):
        bench.server.asked.clear()
        with bench.server.troubled(trouble), pytest.raises(Unavailable) as told:
            looks.owned(WORKSPACE)
        assert told.value.code == "cloud_unavailable", trouble
        # Google's SDK asks four times where a token is not given, and cannot be told not to.
        assert len(bench.server.asked) <= 4


@pytest.mark.sweep
def test_a_trouble_that_is_over_leaves_nothing_behind(bench: Bench) -> None:
    looks = adapter(bench, patience=HASTE)
    with bench.server.troubled("cut"), pytest.raises(Unavailable):
        looks.preflight(asked_for(bench))
    assert bad(adapter(bench).preflight(asked_for(bench))) == []
    assert bad(looks.preflight(asked_for(bench))) == []


@pytest.mark.sweep
def test_a_cloud_that_is_not_there_is_unavailable(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scheme = bench.server.url.split(":", 1)[0]
    nowhere = dict.fromkeys(bench.account.endpoints, f"{scheme}://127.0.0.1:{port}")
    with pytest.raises(Unavailable) as told:
        adapter(bench, {**bench.credentials}, HASTE, endpoints=nowhere).owned(WORKSPACE)
    assert told.value.code == "cloud_unavailable"


@pytest.mark.sweep
def test_an_address_over_the_net_without_tls_is_refused(bench: Bench) -> None:
    for name in bench.account.endpoints:
        with pytest.raises(BadInput, match=name):
            adapter(bench, endpoints={name: "http://cloud.example"})
    with pytest.raises(BadInput, match=r"endpoints\.mistyped"):
        adapter(bench, endpoints={"mistyped": "https://cloud.example"})


# what holds throughout ----------------------------------------------------------------------------


def test_nothing_is_asked_that_changes_anything(bench: Bench) -> None:
    request, looks = asked_for(bench), adapter(bench)
    outputs = bench.stand(request)
    looks.preflight(request)
    looks.verify(request, outputs)
    looks.owned(WORKSPACE)
    writes = [
        (one.method, one.target)
        for one in bench.server.asked
        if one.method not in {"GET", "HEAD"} and not bench.is_read(one)
    ]
    assert writes == []
    assert len(bench.server.asked) > 5


def test_an_adapter_shows_no_secret(bench: Bench) -> None:
    looks = adapter(bench)
    assert looks.cloud == bench.cloud
    assert not any(value in f"{looks!r} {vars(looks)!r}" for value in bench.credentials.values())
