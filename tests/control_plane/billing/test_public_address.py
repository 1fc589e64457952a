"""Where a webhook may go: what is not the public internet is refused, in each of its forms."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.billing.public_address import (
    ADDRESSES_MAX,
    PublicUrl,
    require_all_public,
    require_public,
    require_url,
)
from control_plane.errors import BadInput, Refused

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "168.63.129.17",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "2001:4860:4860::8888",
    "2003::1",
]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c:0:0:80ff:fffe",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:a00:1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
NO_ADDRESS = [
    "",
    "localhost",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "2130706433",
    "1.1.1.1 ",
    "1.1.1.01",
    "1.1.1.1/32",
    "[::1]",
    "2606:4700::1111%eth0",
    "2606:4700::1111%1",
    "fe80::1%eth0",
    "\uff11.1.1.1",
]
v4 = st.integers(0, 2**32 - 1).map(IPv4Address)


def refused(ip: str | IPv4Address | IPv6Address) -> bool:
    try:
        require_public(ip)
    except Refused:
        return True
    return False


def test_a_refusal_tells_neither_the_address_nor_the_reason() -> None:
    told: set[tuple[str, str, str]] = set()
    for ip in (*NOT_PUBLIC, *NO_ADDRESS):
        with pytest.raises(Refused) as caught:
            require_public(ip)
        told.add((str(caught.value), caught.value.code, caught.value.fact))
    words = "the address is not one of the public internet"
    assert told == {(words, "address_not_public", "address")}


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_may_be_connected_to(ip: str) -> None:
    assert require_public(ip) == require_public(ip_address(ip)) == ip_address(ip)


@pytest.mark.parametrize("ip", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_as_text_and_as_a_value(ip: str) -> None:
    assert refused(ip)
    assert refused(ip_address(ip))


@pytest.mark.parametrize("ip", NO_ADDRESS)
def test_a_text_that_is_no_canonical_address_is_refused(ip: str) -> None:
    assert refused(ip)


def test_an_address_with_a_zone_is_refused_as_a_value_too() -> None:
    assert refused(IPv6Address("2606:4700::1111%eth0"))


@settings(max_examples=100, deadline=None)
@given(inner=v4)
def test_no_address_of_the_sixth_version_carries_one_of_the_fourth(inner: IPv4Address) -> None:
    low = int(inner)
    for made in (
        low,
        0xFFFF << 32 | low,
        0xFFFF << 48 | low,
        0x64_FF9B << 96 | low,
        0x64_FF9B_0001 << 80 | low,
        0x2002 << 112 | low << 80 | 1,
        0x2001_0000 << 96 | (low ^ 0xFFFF_FFFF),
        0x2001_0000 << 96 | low << 64,
        0x2A00_1450 << 96 | 0x5EFE << 32 | low,
    ):
        assert refused(IPv6Address(made)), IPv6Address(made)


@settings(max_examples=200, deadline=None)
@given(ip=st.one_of(v4, st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_nothing_that_the_standard_library_calls_special_is_let_through(
    ip: IPv4Address | IPv6Address,
) -> None:
    special = (
        ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved
    )
    assert refused(ip) or not special


@settings(max_examples=100, deadline=None)
@given(ip=v4)
def test_most_of_the_fourth_version_is_public(ip: IPv4Address) -> None:
    assert refused(ip) is not (ip.is_global and not ip.is_multicast) or any(
        ip in ip_network(one)
        for one in (
            "168.63.129.16/32",
            "192.0.0.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.175.48.0/24",
        )
    )


def test_an_operator_may_refuse_ranges_of_his_own() -> None:
    own = [ip_network("1.1.1.0/24"), ip_network("2606:4700::/32")]
    for ip in ("1.1.1.1", "2606:4700:4700::1111"):
        with pytest.raises(Refused):
            require_public(ip, own)
    assert require_public("8.8.8.8", own) == IPv4Address("8.8.8.8")
    with pytest.raises(Refused):
        require_all_public(["8.8.8.8", "1.1.1.1"], iter(own))
    with pytest.raises(Refused):
        require_url("https://1.1.1.1/", refused=own)


def test_one_answer_that_is_not_public_spoils_all() -> None:
    assert require_all_public(["8.8.8.8", "2606:4700::1111"]) == (
        IPv4Address("8.8.8.8"),
        IPv6Address("2606:4700::1111"),
    )
    with pytest.raises(Refused):
        require_all_public(["8.8.8.8", "10.0.0.1"])


def test_a_name_with_no_answer_or_too_many_is_refused() -> None:
    for answers in ([], ["8.8.8.8"] * (ADDRESSES_MAX + 1)):
        with pytest.raises(BadInput, match="addresses"):
            require_all_public(answers)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://example.com/", "example.com", 443, "/"),
        ("https://example.com?a=b", "example.com", 443, "/?a=b"),
        ("https://Hooks.Example.COM:8443/in/%7B?x=1&y=/?", "hooks.example.com", 8443, None),
        ("https://xn--bcher-kva.example/a", "xn--bcher-kva.example", 443, "/a"),
        ("https://1.1.1.1:443/a", "1.1.1.1", 443, "/a"),
        ("https://[2606:4700:0::1111]/a", "2606:4700::1111", 443, "/a"),
        ("https://1.example.com/a@b", "1.example.com", 443, "/a@b"),
    ],
)
def test_a_url_comes_apart_into_what_a_connector_needs(
    url: str, host: str, port: int, path: str | None
) -> None:
    kept = "/in/%7B?x=1&y=/?" if path is None else path
    assert require_url(url) == PublicUrl(host=host, port=port, path=kept)


def test_a_url_knows_whether_it_holds_an_address() -> None:
    assert require_url("https://1.1.1.1/").address == IPv4Address("1.1.1.1")
    assert require_url("https://example.com/").address is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:example.com",
        "https:///a",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com@10.0.0.1/",
        "https://example.com#@10.0.0.1/",
        "https://example.com/#a",
        "https://example.com\\@10.0.0.1/",
        "https://example.com/a b",
        "https://example.com/a\r\nHost: other",
        "https://example.com/\n",
        " https://example.com/",
        "https://exam\tple.com/",
        "https://bücher.example/",
        "https://\uff45xample.com/",
        "https://example.com\u3002/",
        "https://%31%30.0.0.1/",
        "https://example.com./",
        "https://.example.com/",
        "https://a..example.com/",
        "https://-a.example.com/",
        "https://a_b.example.com/",
        "https://localhost/",
        "https://intranet:443/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://2130706433/",
        "https://1.1.1.0x1/",
        "https://1.2.3.4.5/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[1.1.1.1]/",
        "https://[1.1.1.1.1]/",
        "https://[:::]/",
        "https://::1/",
        "https://example.com:/",
        "https://example.com:0443/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:99999999/",
        "https://example.com:-1/",
        "https://example.com:\u0664\u0664\u0663/",
        "https://example.com:80/",
        "https://example.com:22/",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 127 + "com/",
        "https://example.com/" + "a" * 2_048,
    ],
)
def test_a_url_of_any_other_form_is_bad_input_and_is_not_repeated(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        require_url(url)
    assert caught.value.field == "url"
    assert url in {"", "//example.com/"} or url not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:8443/",
        "https://[::1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::808:808]/",
    ],
)
def test_a_url_with_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        require_url(url)
    assert caught.value.code == "address_not_public"


def test_the_ports_are_the_operators_choice() -> None:
    assert require_url("https://example.com:9000/", ports=frozenset({9000})).port == 9000
    with pytest.raises(BadInput, match="ports 9000"):
        require_url("https://example.com/", ports=frozenset({9000}))
