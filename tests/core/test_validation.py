"""Every way a region can be wrong, and what the error says."""

import math
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import CloudProvider, HealthCheck, ProbeKind, Region
from mahavishnu.integrations.multi_region.core.validation import (
    NAME_ALLOWED,
    check_endpoint,
    check_name,
    check_region_id,
    validate_region,
)
from mahavishnu.integrations.multi_region.errors import DuplicateRegionError, InvalidInputError

COUNTRIES = {"DE", "IE", "GB", "US"}


def region(**fields: Any) -> Region:
    good: dict[str, Any] = {"region_id": "eu-west-1", "endpoint": "https://eu.example.com", "latitude": 53.3}
    return Region(**{**good, "longitude": -6.2, "country": "IE", **fields})


def refused(subject: Region) -> InvalidInputError:
    before = repr(subject)
    with pytest.raises(InvalidInputError) as caught:
        validate_region(subject, {"us-east-1"}, COUNTRIES)
    assert repr(subject) == before
    return caught.value


def test_a_good_region_passes() -> None:
    validate_region(region(), ["us-east-1"], COUNTRIES)
    validate_region(region(health=HealthCheck(), health_score=0, current_capacity=1e6), (), COUNTRIES)
    validate_region(region(country=None, health_score=100.0, provider="aws"), (), COUNTRIES)


def test_a_taken_id_is_a_duplicate() -> None:
    error = refused(region(region_id="us-east-1"))
    assert isinstance(error, DuplicateRegionError)
    assert (error.field, error.value, error.allowed) == ("region_id", "us-east-1", "an id that is not registered yet")


@pytest.mark.parametrize("bad", ["", " a", "-a", ".a", "a b", "a\n", "a/b", "é", "a" * 64, None, 7, True])
def test_bad_ids(bad: Any) -> None:
    error = refused(region(region_id=bad))
    assert (error.field, error.value) == ("region_id", bad)
    with pytest.raises(InvalidInputError) as caught:
        check_name(bad, "services.name")
    assert (caught.value.field, caught.value.value, caught.value.allowed) == ("services.name", bad, NAME_ALLOWED)


@given(st.text(string.ascii_letters + string.digits, min_size=1, max_size=1), st.text("aZ09._:-", max_size=62))
def test_good_ids(first: str, rest: str) -> None:
    assert check_region_id(first + rest) == check_name(first + rest, "service") == first + rest


NOT_FINITE_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "1", [], 10**400]


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[(f, v) for f in ("latitude", "longitude", "current_capacity", "cost_multiplier") for v in NOT_FINITE_NUMBERS],
        *[("health_score", v) for v in NOT_FINITE_NUMBERS],
        *[(f, None) for f in ("latitude", "longitude", "current_capacity", "cost_multiplier")],
        ("latitude", 90.1),
        ("longitude", -180.1),
        ("current_capacity", -0.1),
        ("cost_multiplier", 0),
        ("cost_multiplier", -1),
        ("health_score", -0.1),
        ("health_score", 100.1),
        ("provider", "awz"),
        ("provider", None),
    ],
)
def test_bad_fields(field: str, bad: Any) -> None:
    error = refused(region(**{field: bad}))
    assert error.field == field
    assert error.value is bad
    assert error.allowed


@pytest.mark.parametrize("bad", [*NOT_FINITE_NUMBERS, None, 0, -1])
def test_bad_capacity(bad: Any) -> None:
    subject = region()
    subject.capabilities.max_capacity = bad
    error = refused(subject)
    assert (error.field, error.allowed) == ("capabilities.max_capacity", "a number above 0, at most 1000000000000")


@pytest.mark.parametrize("bad", ["", "D", "DEU", "ZZ", 49, True])
def test_bad_countries(bad: Any) -> None:
    error = refused(region(country=bad))
    assert (error.field, error.value) == ("country", bad)


@pytest.mark.parametrize(("given", "meant"), [("UK", "GB"), ("uk", "GB"), ("de", "DE"), (" DE", "DE")])
def test_a_country_nearly_right_is_guessed(given: str, meant: str) -> None:
    assert f"did you mean '{meant}'?" in refused(region(country=given)).allowed


def test_without_a_list_any_two_capitals_are_a_country() -> None:
    validate_region(region(country="ZZ"), ())
    with pytest.raises(InvalidInputError, match=r"^country: 'zz'"):
        validate_region(region(country="zz"), ())


@pytest.mark.parametrize(
    "good",
    [
        "http://127.0.0.1:9001",
        "https://us-east-1.api.example.com",
        "HTTPS://EXAMPLE.COM/base?zone=a",
        "tcp://db_1.internal:5432",
        "http://[::1]:80/",
        "https://example.com.",
        "http://localhost:65535",
    ],
)
def test_good_endpoints(good: str) -> None:
    assert check_endpoint(good, "endpoint") == good


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "scheme"),
        (None, "not text"),
        (b"http://a", "not text"),
        ("example.com", "scheme"),
        ("example.com:80", "scheme"),
        ("ftp://example.com", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//example.com", "scheme"),
        ("http://", "host"),
        ("http:///path", "host"),
        ("http:example.com", "host"),
        ("http://:80", "host"),
        ("http://-a.example", "host"),
        ("http://a..b", "host"),
        ("http://münchen.example", "host"),
        ("http://" + "a" * 64, "host"),
        ("http://" + "a." * 130 + "b", "host"),
        ("http://[::1", "ipv6"),
        ("http://[fe80::zz]", "ip"),
        ("http://a:0", "port"),
        ("http://a:65536", "port"),
        ("http://a:-1", "port"),
        ("http://a:http", "port"),
        ("http://a:", "port"),
        ("tcp://a", "port"),
        ("http://exa mple.com", "space"),
        (" http://a", "space"),
        ("http://a\r\nHost: b", "space"),
        ("http://a/\x00", "space"),
        ("http://user@a", "user"),
    ],
)
def test_bad_endpoints(bad: Any, why: str) -> None:
    error = refused(region(endpoint=bad))
    assert error.field == "endpoint"
    assert why in error.allowed.rsplit("(", 1)[1]


@pytest.mark.parametrize(
    "bad",
    ["https://bob:hunter2@a.example", "https://bob:hunter2@a.example/\n", "ftp://hunter2@a", "bob:hunter2@a.example"],
)
def test_a_password_in_an_endpoint_is_refused_and_not_repeated(bad: str) -> None:
    assert "hunter2" not in str(refused(region(endpoint=bad)))


@given(st.text(max_size=40) | st.text("htps:/@[].%0189?# \n", max_size=30))
def test_any_text_is_an_endpoint_or_an_invalid_input(text: str) -> None:
    try:
        assert check_endpoint(text, "endpoint") == text
    except InvalidInputError as error:
        assert error.field == "endpoint"


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[
            (f, v)
            for f in ("interval_s", "timeout_s", "hold_down_s", "leak_limit", "slow_ms")
            for v in NOT_FINITE_NUMBERS
        ],
        *[(f, v) for f in ("fall", "rise") for v in (0, -1, 1.5, 2.0, True, "2", None)],
        ("interval_s", 0),
        ("interval_s", None),
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("leak_limit", 0.9),
        ("hold_down_s", -0.1),
        ("slow_ms", 0),
        ("path", ""),
        ("path", "healthz"),
        ("path", "/a b"),
        ("path", "/a\r\nX: y"),
        ("path", None),
        ("url", ""),
        ("url", "ftp://a"),
        ("url", 7),
        ("statuses", ()),
        ("statuses", ((99, 200),)),
        ("statuses", ((200, 600),)),
        ("statuses", ((300, 200),)),
        ("statuses", ((200, 399), (True, 500))),
        ("statuses", ((200.0, 299),)),
        ("statuses", ((200,),)),
        ("statuses", (200,)),
        ("statuses", 200),
        ("statuses", None),
        ("body_contains", ""),
        ("body_contains", b"ok"),
        ("verify_tls", "no"),
        ("verify_tls", 0),
        ("kind", "icmp"),
        ("headers", {"A\r\nB": "x"}),
        ("headers", {"A B": "x"}),
        ("headers", {"": "x"}),
        ("headers", {7: "x"}),
        ("headers", None),
    ],
)
def test_bad_health_checks(field: str, bad: Any) -> None:
    change: Any = {field: bad}
    assert refused(region(health=replace(HealthCheck(), **change))).field == f"health.{field}"


@pytest.mark.parametrize("bad", ["secret\r\nX: y", "secret\nb", "secret\rb", "secret\x00", b"secret", None])
def test_a_header_that_would_break_out_is_refused_and_not_repeated(bad: Any) -> None:
    error = refused(region(health=HealthCheck(headers={"Authorization": bad})))
    assert error.field == "health.headers.Authorization"
    assert "secret" not in str(error)


def test_good_health_checks() -> None:
    checks = [
        HealthCheck(kind=ProbeKind.TCP, url="tcp://127.0.0.1:9001", interval_s=0.05, timeout_s=1, fall=1, rise=1),
        HealthCheck(leak_limit=1, hold_down_s=0, slow_ms=250, statuses=((100, 599),), body_contains="ok"),
        HealthCheck(path="/", headers={"X-Probe": "multi region", "Host": "a.example"}, verify_tls=False),
    ]
    for check in checks:
        validate_region(region(provider=CloudProvider.GCP, health=check), (), COUNTRIES)
