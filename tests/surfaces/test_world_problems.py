"""What is wrong in a world file is named with its line, all at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.errors import WorldFileError
from mahavishnu.integrations.multi_region.surfaces.world.load import (
    load_world,
    read_world,
    world_from_json,
)


def problems(text: str) -> list[tuple[int, str, str]]:
    """Line, field, and what was wrong and allowed, of everything that is wrong with a text."""
    with pytest.raises(WorldFileError) as caught:
        load_world(text, "world.yaml")
    return [(p.line, p.field, f"{p.value!r} {p.allowed}") for p in caught.value.problems]


ONE = "regions:\n  - id: eu-west-1\n    endpoint: http://127.0.0.1:9001\n"
SERVICE = ONE + "services:\n  - name: api\n"
POLICY = ONE + "policies:\n  - name: eu\n"

BAD: list[tuple[str, str, list[tuple[int, str, str]]]] = [
    ("empty", "", [(1, "world", "mapping with keys of: version, regions")]),
    ("only a comment", "# nothing\n", [(1, "world", "mapping")]),
    ("a list", "- regions\n", [(1, "world", "mapping")]),
    ("no regions", "version: 1\n", [(1, "regions", "needed here")]),
    ("version", "regions: []\nversion: 2\n", [(2, "version", "2 1")]),
    ("not closed", "version: 1\nregions: [\n", [(3, "YAML", "column 1: expected the node content")]),
    ("two colons", "regions: []\nversion: 1: 2\n", [(2, "YAML", "column 11: mapping values are not allowed here")]),
    ("a tab", "regions:\n\t- id: a\n", [(2, "YAML", "column 1: found character '\\t'")]),
    ("no anchor", "regions: *all\n", [(1, "YAML", "found undefined alias")]),
    ("a null byte", "regions: []\nversion: \x00\n", [(2, "YAML", "column 10: this character is not allowed")]),
    ("no such character", 'version: "\\UFFFFFFFF"', [(1, "YAML", "names no character")]),
    ("two documents", "regions: []\n---\nregions: []\n", [(2, "YAML", "another document")]),
    ("too deep", "regions: " + "[" * 30, [(1, "YAML", "nested deeper than 20 levels")]),
    ("planned", "regions: []\nareas: []\n", [(2, "areas", "does not read it yet")]),
    ("planned, more", "storage: {}\nareas: {}\nregions: []\n", [(1, "storage", "later"), (2, "areas", "later")]),
    ("unknown at the top", "regions: []\nserivces: []\n", [(2, "serivces", "did you mean 'services'?")]),
    ("unknown in a region", ONE + "    max_capcity: 1\n", [(4, "regions.eu-west-1.max_capcity", "'max_capacity'")]),
    (
        "unknown in health",
        ONE + "    health:\n      fall: 2\n      tiemout: 1s\n",
        [(6, "regions.eu-west-1.health.tiemout", "did you mean 'timeout'?")],
    ),
    ("unknown in safety", "regions: []\nsafety:\n  headrom: 1%\n", [(3, "safety.headrom", "'headroom'")]),
    ("unknown in a policy", POLICY + "    locality: strict\n", [(6, "policies.eu.locality", "'locality_level'")]),
    ("number as key", "regions: []\n1: 2\n", [(2, "1", "one of: edges, policies, regions")]),
    ("list as key", "regions: []\n? [a]\n: 1\n", [(2, "world", "a word as key")]),
    ("twice at the top", "regions: []\nregions: []\n", [(2, "regions", "each key once (first on line 1)")]),
    (
        "twice in a region",
        ONE + "    name: A\n    country: IE\n    name: B\n",
        [(6, "regions.eu-west-1.name", "each key once (first on line 4)")],
    ),
    ("a tag", "regions: []\nversion: !!python/name:os.system\n", [(2, "version", "a value without a tag")]),
    ("a wrong tag", "regions: []\nversion: !!int one\n", [(2, "version", "'one' a value that fits its tag !!int")]),
    ("merged text", "regions: []\nsafety:\n  <<: text\n", [(3, "safety.<<", "an alias of a mapping")]),
    ("nothing behind", "regions:\n", [(1, "regions", "'(empty)' a value; to take the default, leave the key out")]),
    ("null for a list", POLICY + "    allowed_regions: ~\n", [(6, "policies.eu.allowed_regions", "leave the key out")]),
    ("text for a list", "regions: eu-west-1\n", [(1, "regions", "'eu-west-1' a list")]),
    ("text for a region", "regions:\n  - eu-west-1\n", [(2, "regions[0]", "a mapping with keys of: id, endpoint")]),
    ("nothing for a region", "regions:\n  -\n", [(2, "regions[0]", "'(empty)' a mapping")]),
    ("no id", "regions:\n  - endpoint: http://a\n", [(2, "regions[0].id", "'(missing)' needed here")]),
    ("no endpoint", "regions:\n  - id: eu-west-1\n", [(2, "regions.eu-west-1.endpoint", "needed here. URL")]),
    (
        "number for an id",
        "regions:\n  - {id: 7, endpoint: 'http://a'}\n",
        [
            (2, "regions[0].id", "7 a name"),
        ],
    ),
    ("true for a name", ONE + "    name: true\n", [(4, "regions.eu-west-1.name", "True text of 1")]),
    ("id with a slash", "regions:\n  - {id: a/b, endpoint: 'http://a'}\n", [(2, "regions.a/b.id", "letters, digits")]),
    ("no scheme", "regions:\n  - {id: eu-west-1, endpoint: 'a:1'}", [(2, "regions.eu-west-1.endpoint", "scheme must")]),
    ("other scheme", "regions:\n  - {id: eu-west-1, endpoint: 'ftp://a'}", [(2, "regions.eu-west-1.endpoint", "http")]),
    (
        "user in a URL",
        "regions:\n  - {id: eu-west-1, endpoint: 'http://me:secret@a'}",
        [(2, "regions.eu-west-1.endpoint", "***@a")],
    ),
    (
        "tcp without port",
        "regions:\n  - {id: eu-west-1, endpoint: 'tcp://a'}",
        [(2, "regions.eu-west-1.endpoint", "port")],
    ),
    ("provider", ONE + "    provider: asw\n", [(4, "regions.eu-west-1.provider", "did you mean 'aws'?")]),
    ("latitude", ONE + "    latitude: 91\n    longitude: 1\n", [(4, "regions.eu-west-1.latitude", "from -90 to 90")]),
    (
        "nan",
        ONE + "    latitude: .nan\n    longitude: 1\n",
        [(4, "regions.eu-west-1.latitude", "'nan' a number of degrees")],
    ),
    ("half a place", ONE + "    latitude: 9\n", [(2, "regions.eu-west-1.longitude", "because latitude is given")]),
    ("other half", ONE + "    longitude: 9\n", [(2, "regions.eu-west-1.latitude", "because longitude is given")]),
    (
        "not in the catalog",
        "regions:\n  - id: eu-wset-1\n    endpoint: http://a\n",
        [(2, "regions.eu-wset-1.latitude", "did you mean 'eu-west-1'?")],
    ),
    (
        "not of that provider",
        ONE + "    provider: azure\n",
        [(2, "regions.eu-west-1.latitude", "latitude and longitude are needed here")],
    ),
    ("no such country", ONE + "    country: UK\n", [(4, "regions.eu-west-1.country", "did you mean 'GB'?")]),
    ("country too long", ONE + "    country: Ireland\n", [(4, "regions.eu-west-1.country", "ISO 3166-1")]),
    ("country as a number", ONE + "    country: 44\n", [(4, "regions.eu-west-1.country", "two capital letters")]),
    ("no room at all", ONE + "    max_capacity: 0\n", [(4, "regions.eu-west-1.max_capacity", "a number above 0")]),
    ("capacity as text", ONE + "    max_capacity: '9'\n", [(4, "regions.eu-west-1.max_capacity", "'9' a number")]),
    ("capacity true", ONE + "    max_capacity: true\n", [(4, "regions.eu-west-1.max_capacity", "True a number")]),
    ("endless capacity", ONE + "    max_capacity: .inf\n", [(4, "regions.eu-west-1.max_capacity", "'inf' a number")]),
    ("score", ONE + "    health_score: 101\n", [(4, "regions.eu-west-1.health_score", "from 0 to 100")]),
    ("load", ONE + "    current_capacity: -1\n", [(4, "regions.eu-west-1.current_capacity", "from 0 to")]),
    ("cost", ONE + "    cost_multiplier: 0\n", [(4, "regions.eu-west-1.cost_multiplier", "above 0")]),
    (
        "one framework in a list",
        ONE + "    compliance:\n      - gdpr\n      - gpdr\n",
        [(6, "regions.eu-west-1.compliance[1]", "did you mean 'gdpr'?")],
    ),
    ("framework twice", ONE + "    compliance: [gdpr, GDPR]\n", [(4, "regions.eu-west-1.compliance", "entry once")]),
    ("list of nothing", ONE + "    features: [~]\n", [(4, "regions.eu-west-1.features[0]", "text of 1")]),
    *[
        (
            f"health {key} {value}",
            f"{ONE}    health:\n      {key}: {value}\n",
            [(5, f"regions.eu-west-1.health.{key}", says)],
        )
        for key, value, says in [
            ("kind", "udp", "one of: http, tcp"),
            ("path", "healthz", "begins with /"),
            ("path", "'/a b'", "begins with /"),
            ("url", "/healthz", "the scheme must be one of"),
            ("interval", "5 parsecs", "a duration such as 250ms, 2s, 1m or 1h"),
            ("interval", "0", "at least 10ms"),
            ("interval", "9ms", "at least 10ms"),
            ("interval", "25h", "at most 24h"),
            ("timeout", "0s", "at least 1ms"),
            ("timeout", "-1", "at least 1ms"),
            ("timeout", "true", "a duration"),
            ("hold_down", "-1s", "at least 0 and"),
            ("slow", "[]", "'a list' a duration"),
            ("fall", "0", "a whole number from 1 to 1000"),
            ("rise", "2.5", "a whole number from 1 to 1000"),
            ("leak_limit", "0.5", "from 1 to 1000"),
            ("statuses", "[]", "at least one entry"),
            ("statuses", "200", "200 a list"),
            ("body_contains", "''", "text of 1"),
            ("headers", "[a]", "'(not shown)' a mapping"),
            ("verify_tls", "maybe", "true or false"),
            ("verify_tls", "0", "true or false"),
        ]
    ],
    (
        "status",
        ONE + "    health: {statuses: [200, 99]}\n",
        [(4, "regions.eu-west-1.health.statuses[1]", "100 to 599")],
    ),
    (
        "statuses backwards",
        ONE + "    health: {statuses: ['299-200']}\n",
        [(4, "regions.eu-west-1.health.statuses[0]", "the lower number first")],
    ),
    (
        "a header on two lines",
        ONE + '    health:\n      headers:\n        X-Key: "secret\\r\\nEvil: 1"\n',
        [(6, "regions.eu-west-1.health.headers.X-Key", "'(not shown)' a header's value, on one line")],
    ),
    (
        "a header's name",
        ONE + "    health:\n      headers:\n        X Key: a\n",
        [(6, "regions.eu-west-1.health.headers.X Key", "'X Key' a header's name")],
    ),
    (
        "http to a tcp address",
        ONE + "    health:\n      kind: http\n      url: tcp://a:1\n",
        [(5, "regions.eu-west-1.health.kind", "tcp, because")],
    ),
    ("a region twice", ONE + ONE[9:], [(4, "regions.eu-west-1.id", "no other of the regions has (first on line 2)")]),
    ("a service twice", SERVICE + "  - name: api\n", [(6, "services.api.name", "first on line 5")]),
    ("a policy twice", POLICY + "  - name: EU\n", [(6, "policies.EU.name", "'eu' a name that no other")]),
    ("a policy's id twice", POLICY + "  - name: x\n    id: eu\n", [(7, "policies.eu.id", "first on line 5")]),
    ("a policy without an id", ONE + "policies:\n  - name: '!!'\n", [(5, "policies.!!.id", "makes no id")]),
    ("no policy", SERVICE + "    policy: eu\n", [(6, "services.api.policy", "'eu' none is known yet")]),
    (
        "another policy",
        POLICY + "services:\n  - name: api\n    policy: ue\n",
        [(8, "services.api.policy", "one of: eu")],
    ),
    (
        "a policy for no region",
        POLICY + "    allowed_regions:\n      - eu-west-1\n      - eu-west-2\n",
        [(8, "policies.eu.allowed_regions[1]", "did you mean 'eu-west-1'?")],
    ),
    (
        "a policy of none",
        POLICY + "    allowed_regions: []\n",
        [(6, "policies.eu.allowed_regions", "at least one region")],
    ),
    (
        "transfer",
        POLICY + "    cross_region_transfer: 1\n",
        [(6, "policies.eu.cross_region_transfer", "true or false")],
    ),
    ("strategy", SERVICE + "    strategy: nearest\n", [(6, "services.api.strategy", "one of: capacity_based")]),
    (
        "host",
        SERVICE + "    hosts:\n      - a.b\n      - http://a.b\n",
        [(8, "services.api.hosts[1]", "a host name such")],
    ),
    ("priority", SERVICE + "    priority: first\n", [(6, "services.api.priority", "a whole number from 0")]),
    ("failback", SERVICE + "    failback: never\n", [(6, "services.api.failback", "one of: auto, manual, scheduled")]),
    (
        "half a deployment",
        SERVICE + "    deployment:\n      regions: [eu-west-1]\n",
        [(6, "services.api.deployment.type", "needed here")],
    ),
    (
        "deployed nowhere",
        SERVICE + "    deployment:\n      type: active-active\n      regions: []\n",
        [(8, "services.api.deployment.regions", "at least one region")],
    ),
    (
        "a switch as a state",
        SERVICE + "    deployment:\n      type: blue-green\n      regions: [eu-west-1]\n",
        [(7, "services.api.deployment.type", "`multi-region deploy blue-green` begins a switch")],
    ),
    (
        "deployed where nothing is",
        SERVICE
        + "    deployment:\n      type: active-active\n      regions:\n        - eu-west-1\n        - eu-wst-1\n",
        [(10, "services.api.deployment.regions[1]", "did you mean 'eu-west-1'?")],
    ),
    (
        "weights of others",
        SERVICE
        + "    deployment:\n      type: active-active\n      regions: [eu-west-1]\n      weights:\n        us: 1\n",
        [(10, "services.api.deployment.weights.us", "a region of this deployment; one of: eu-west-1")],
    ),
    (
        "a negative weight",
        SERVICE + "    deployment: {type: active-active, regions: [eu-west-1], weights: {eu-west-1: -1}}\n",
        [(6, "services.api.deployment.weights.eu-west-1", "-1 a number from 0 to")],
    ),
    ("share", "regions: []\nsafety:\n  max_removed: 150%\n", [(3, "safety.max_removed", "a share from 0% to 100%")]),
    ("share as a number", "regions: []\nsafety: {headroom: 10}\n", [(2, "safety.headroom", "a share from 0% to 100%")]),
    ("nothing serves", "regions: []\nsafety: {min_serving: 0}\n", [(2, "safety.min_serving", "from 1 to 1000")]),
    ("window", "regions: []\nsafety: {window: soon}\n", [(2, "safety.window", "a duration")]),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_problem_is_named_with_its_line(text: str, expected: list[tuple[int, str, str]]) -> None:
    found = problems(text)
    assert [(line, field) for line, field, _ in found] == [(line, field) for line, field, _ in expected]
    for (_, _, says), (_, _, phrase) in zip(found, expected, strict=True):
        assert phrase in says


def test_all_problems_are_reported_together_in_the_file_s_order() -> None:
    text = """regions:
  - id: eu-west-1
    endpoint: http://a
    country: NO
    helth: {}
  - id: eu-west-1
    endpoint: ftp://x
    health:
      interval: soon
policies:
  - name: eu
    allowed_regions: [eu-west-9]
services:
  - policy: ue
    deployment:
      type: active
      regions: [eu-west-1, eu]
safety: {headroom: -1}
areas: []
"""
    assert [(line, field) for line, field, _ in problems(text)] == [
        (5, "regions.eu-west-1.helth"),
        (6, "regions.eu-west-1.id"),
        (7, "regions.eu-west-1.endpoint"),
        (9, "regions.eu-west-1.health.interval"),
        (12, "policies.eu.allowed_regions[0]"),
        (14, "services[0].name"),
        (14, "services[0].policy"),
        (16, "services[0].deployment.type"),
        (17, "services[0].deployment.regions[1]"),
        (18, "safety.headroom"),
        (19, "areas"),
    ]


def test_a_wrong_value_behind_an_alias_is_named_where_it_is_written() -> None:
    text = "regions:\n  - id: eu-west-1\n    endpoint: http://a\n    health: &p\n      fall: no\n"
    text += "  - id: us-east-1\n    endpoint: http://b\n    health: *p\n"
    assert [row[:2] for row in problems(text)] == [
        (5, "regions.eu-west-1.health.fall"),
        (5, "regions.us-east-1.health.fall"),
    ]


def test_the_message_gives_file_line_field_value_and_what_is_allowed() -> None:
    with pytest.raises(
        WorldFileError, match=re.escape("w.yaml:2: safety.min_serving: 0 is not allowed; allowed: a whole")
    ):
        load_world("regions: []\nsafety: {min_serving: 0}\n", "w.yaml")


def test_a_default_that_could_never_work_is_named() -> None:
    text = "regions:\n  - id: eu-west-1\n    endpoint: http://a\n    health: {rise: 2}\n"
    with pytest.raises(WorldFileError, match=r"w:4: regions\.eu-west-1\.health\.interval: 0 is not allowed"):
        load_world(text, "w", HealthCheck(interval_s=0))


def test_problems_in_json_carry_line_0() -> None:
    data = {
        "regions": [{"id": "eu-west-1", "endpoint": "http://a", "fall": 1}, {"id": "eu-west-1", "endpoint": "http://b"}]
    }
    with pytest.raises(WorldFileError) as caught:
        world_from_json(data)
    found = [(p.line, p.field) for p in caught.value.problems]
    assert found == [(0, "regions.eu-west-1.fall"), (0, "regions.eu-west-1.id")]
    assert all("line" not in p.allowed for p in caught.value.problems)


@pytest.mark.parametrize(
    "data",
    [[], None, "regions", {"regions": [10**5000]}, {"regions": [{"id": 10**5000}]}, {"safety": {"headroom": 10**400}}],
)
def test_json_of_the_wrong_shape_is_refused(data: Any) -> None:
    with pytest.raises(WorldFileError) as caught:
        world_from_json(data)
    json.dumps([[p.line, p.field, p.value, p.allowed] for p in caught.value.problems], ensure_ascii=False).encode()


def test_problems_can_be_printed_whatever_the_file_holds() -> None:
    bad = '{"regions": [{"id": "\\ud800\\u001b[2J", "endpoint": "http://a", "\\u001b": 1}], "\\udfff": 1}'
    with pytest.raises(WorldFileError) as caught:
        world_from_json(json.loads(bad))
    assert all((f"{p.field}{p.value}{p.allowed}").isprintable() for p in caught.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{o}'] * 9)}]\n" for o, n in zip("abcdefg", "bcdefgh", strict=True)),
    ],
    ids=["itself", "itself by merging", "a bomb"],
)
def test_aliases_without_end_are_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem[1] == "world" and "at most 200000 keys and values, 20 levels deep" in problem[2]


def test_a_file_of_more_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"regions: []\n" + b"#" * 1_000_000)
    with pytest.raises(WorldFileError, match="at most 1000000 bytes"):
        read_world(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldFileError, match=r"none\.yaml:0: file: .* \(No such file or directory\)"):
        read_world(tmp_path / "none.yaml")


def test_a_file_that_is_not_utf_8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"regions:\n  - name: D\xfcsseldorf\n")
    with pytest.raises(WorldFileError, match=r"latin\.yaml:2: file: 'byte 0xfc' .* text in UTF-8"):
        read_world(path)


def test_very_many_problems_are_counted() -> None:
    found = problems("regions: [" + "x, " * 500 + "]\n")
    assert len(found) == 201
    assert any("300 more problems" in says for _, _, says in found)
