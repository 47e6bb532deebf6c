"""Which targets may be probed, and where a health check points."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.targets import (
    Target,
    TargetRules,
    check_target,
    host_objection,
    literal_address,
    parse_target,
    target_objection,
    target_url,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError

RULES = TargetRules()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "203.0.113.7", "::1", "fd12::1", "2001:db8::1"]
)
def test_loopback_private_and_public_addresses_may_be_probed(address: str) -> None:
    assert target_objection(address, RULES) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("169.254.169.254", "a cloud metadata address"),
        ("169.254.170.2", "a cloud metadata address"),
        ("100.100.100.200", "a cloud metadata address"),
        ("168.63.129.16", "a cloud metadata address"),
        ("fd00:ec2::254", "a cloud metadata address"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_an_address_where_no_region_lives_is_refused_with_its_reason(address: str, why: str) -> None:
    assert target_objection(address, RULES) == f"{address} is {why}"


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:db8::5efe:169.254.169.254",
    ],
)
def test_an_ipv4_address_inside_an_ipv6_one_is_judged_too(address: str) -> None:
    objection = target_objection(address, RULES)
    assert objection == f"{address} carries 169.254.169.254, which is a cloud metadata address"


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "2002:0a00:0001::"])
def test_a_harmless_address_inside_an_ipv6_one_is_harmless(address: str) -> None:
    assert target_objection(address, RULES) is None


@given(st.integers(0, 2**32 - 1))
def test_mapping_an_address_into_ipv6_never_makes_it_allowed(number: int) -> None:
    plain = IPv4Address(number)
    for prefix in ("::ffff:", "64:ff9b::"):
        if target_objection(str(plain), RULES) is not None:
            assert target_objection(f"{prefix}{plain}", RULES) is not None


def test_link_local_can_be_allowed_and_metadata_stays_refused() -> None:
    rules = TargetRules(allow_link_local=True)
    assert target_objection("169.254.1.1", rules) is None
    assert target_objection("fe80::1", rules) is None
    assert target_objection("169.254.169.254", rules) == "169.254.169.254 is a cloud metadata address"
    assert target_objection("169.254.169.254", TargetRules(allow_metadata=True)) is None


def test_what_is_no_address_is_refused() -> None:
    assert target_objection("example.test", RULES) == "'example.test' is not an IP address"


SPELLINGS = [
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_of_an_address_is_seen_through(host: str) -> None:
    assert literal_address(host) == ip_address("169.254.169.254")
    assert host_objection(host, RULES) == "169.254.169.254 is a cloud metadata address"


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_an_unusual_spelling_of_an_allowed_address_is_refused_with_the_usual_one(host: str) -> None:
    objection = host_objection(host, RULES)
    assert objection == f"{host} is an unusual spelling of 127.0.0.1: write the address so"


@pytest.mark.parametrize(
    "host", ["example.test", "1.2.3.4.5", "1.2.3.256", "256.1.1.1", "0x", "08.1", "a.1", "4294967296", ""]
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


@given(st.ip_addresses(v=4), st.sampled_from(["{:d}", "{:#x}", "0{:o}"]))
def test_a_number_in_any_base_is_the_address_it_stands_for(address: IPv4Address, spelling: str) -> None:
    assert literal_address(spelling.format(int(address))) == address


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"])
def test_the_names_of_metadata_services_are_refused(host: str) -> None:
    assert host_objection(host, RULES) == f"{host.lower().rstrip('.')} is the name of a cloud metadata service"


def test_a_list_of_allowed_hosts_narrows_and_lifts_no_other_rule() -> None:
    rules = TargetRules(allowed_hosts=frozenset({"a.example.test", "169.254.169.254"}))
    assert host_objection("A.example.test", rules) is None
    assert host_objection("b.example.test", rules) == "b.example.test is not on the list of allowed hosts"
    assert host_objection("169.254.169.254", rules) == "169.254.169.254 is a cloud metadata address"


@pytest.mark.parametrize(
    "url",
    [
        "https://us-east-1.api.example.com",
        "http://127.0.0.1:9001",
        "http://[::1]:80/x",
        "tcp://10.0.0.1:5432",
        "HTTP://a/",
    ],
)
def test_ordinary_endpoints_are_allowed(url: str) -> None:
    check_target(url, RULES)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("ftp://a.test", "a URL whose scheme is one of: http, https, tcp"),
        ("file:///etc/passwd", "scheme://host[:port]"),
        ("", "scheme://host[:port]"),
        ("example.test", "scheme://host[:port]"),
        ("http://", "scheme://host[:port]"),
        ("http://:80", "scheme://host[:port]"),
        ("http://a.test:99999", "a port from 1 to 65535"),
        ("http://a.test:x", "a port from 1 to 65535"),
        ("tcp://a.test", "tcp://host:port, with the port"),
        ("http://a.te\tst", "a URL without blanks, control characters and backslashes"),
        ("http://a.test\\@169.254.169.254/", "a URL without blanks, control characters and backslashes"),
        ("http://[::1", "a URL (Invalid IPv6 URL)"),
        (
            "http://169.254.169.254/latest",
            "a target that probes may reach, but 169.254.169.254 is a cloud metadata address",
        ),
        ("http://[fe80::1%25eth0]/", "a target that probes may reach, but fe80::1%eth0 is link-local"),
        (
            "http://[::ffff:169.254.1.1]/",
            "a target that probes may reach, but ::ffff:a9fe:101 carries 169.254.1.1, which is link-local",
        ),
    ],
)
def test_a_target_that_is_not_allowed_is_refused_by_field_value_and_reason(url: str, allowed: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_target(url, RULES, "health.url")
    assert (refused.value.field, refused.value.value, refused.value.allowed) == ("health.url", url, allowed)


def test_a_refused_url_with_a_password_does_not_show_it() -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_target("http://ann:secret@a.test/x", RULES)
    assert refused.value.value == "http://***@a.test/x"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a.test", Target("http", "a.test", 80)),
        ("https://a.test/x", Target("https", "a.test", 443)),
        ("https://[2001:db8::1]:8443", Target("https", "2001:db8::1", 8443)),
        ("tcp://a.test:5432", Target("tcp", "a.test", 5432)),
    ],
)
def test_a_url_leads_to_a_host_and_port(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("endpoint", "path", "url"),
    [
        ("http://a.test", "/healthz", "http://a.test/healthz"),
        ("http://a.test/", "/healthz", "http://a.test/healthz"),
        ("http://a.test/base", "/healthz", "http://a.test/base/healthz"),
        ("http://a.test/base/", "healthz?deep=1", "http://a.test/base/healthz?deep=1"),
        ("http://a.test/base?x=1#y", "/healthz", "http://a.test/base/healthz"),
        ("http://a.test/base", "", "http://a.test/base"),
        ("http://a.test:9001", "//evil.test/x", "http://a.test:9001/evil.test/x"),
    ],
)
def test_a_path_is_joined_below_the_endpoint(endpoint: str, path: str, url: str) -> None:
    assert target_url(endpoint, HealthCheck(path=path)) == url


def test_a_check_with_its_own_url_ignores_the_endpoint() -> None:
    assert target_url("not a url", HealthCheck(url="http://b.test/up")) == "http://b.test/up"
