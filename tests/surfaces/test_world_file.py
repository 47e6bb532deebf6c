"""The world file: what it declares, that any text is taken or refused, and what is published about it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.intent import World, check_world, region_from_document
from mahavishnu.integrations.multi_region.core.model import (
    CloudProvider,
    ComplianceFramework,
    DataPlacementPolicy,
    DeploymentSpec,
    DeploymentType,
    FailbackMode,
    HealthCheck,
    Point,
    ProbeKind,
    RegionCapabilities,
    RoutingStrategy,
    SafetyLimits,
    Service,
)
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.errors import WorldFileError
from mahavishnu.integrations.multi_region.facts.catalog import region_from_catalog
from mahavishnu.integrations.multi_region.surfaces.world.load import (
    load_world,
    read_world,
    world_from_json,
    world_schema,
)
from mahavishnu.integrations.multi_region.surfaces.world.schema import ENTRIES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "world.yaml"
GDPR, SOC2 = ComplianceFramework.GDPR, ComplianceFramework.SOC2
PLACED = "latitude: 1, longitude: 2"


# --- what a good file declares -----------------------------------------------------------------


def expected_example() -> World:
    probe = HealthCheck(interval_s=0.25, timeout_s=0.2, fall=2, rise=3, slow_ms=150)
    declared = [
        ("us-east-1", 1000, [SOC2]),
        ("us-west-2", 1000, [SOC2]),
        ("eu-west-1", 1000, [GDPR, SOC2]),
        ("eu-central-1", 1000, [GDPR, SOC2]),
        ("ap-southeast-1", 600, [SOC2]),
    ]
    return World(
        regions=tuple(
            region_from_catalog(
                region_id,
                endpoint=f"http://127.0.0.1:{port}",
                capabilities=RegionCapabilities(compliance, capacity),
                health=probe,
            )
            for port, (region_id, capacity, compliance) in enumerate(declared, 9001)
        ),
        policies=(DataPlacementPolicy("gdpr", [GDPR], ["eu-west-1", "eu-central-1"]),),
        services=(
            Service(
                "web",
                ("www.example.test",),
                priority=10,
                routes=(RouteClass("/reports/", 60), RouteClass("/", 2, attempt_timeout_s=0.5)),
            ),
            Service(
                "accounts",
                ("accounts.example.test",),
                policy="gdpr",
                deployment=DeploymentSpec(DeploymentType.ACTIVE_ACTIVE, ("eu-west-1", "eu-central-1")),
                priority=1,
                failback=FailbackMode.AUTO,
            ),
        ),
        limits=SafetyLimits(min_serving=1, max_removed=0.5, window_s=60, headroom=0.1),
        edges=(EdgeSpec("edge-eu", Point(53.35, -6.26), country="IE"),),
    )


def test_the_example_declares_what_it_says() -> None:
    assert read_world(EXAMPLE) == expected_example()


def test_the_documents_of_the_example_survive_json() -> None:
    world = read_world(EXAMPLE)
    written = json.loads(json.dumps(world.documents()))
    assert written == world.documents()
    assert [region_from_document(written[f"regions/{r.region_id}"]) for r in world.regions] == list(world.regions)


def test_the_same_thing_as_json_is_the_same_world() -> None:
    assert world_from_json(yaml.safe_load(EXAMPLE.read_text("utf-8"))) == expected_example()


def test_every_key_arrives() -> None:
    world = load_world(
        """
version: 1
regions:
  - id: rack-7
    endpoint: https://rack-7.example.com/base
    provider: Other
    name: Rack 7
    location: Oslo
    latitude: 59.91
    longitude: 10
    country: NO
    max_capacity: 12.5
    compliance: [PCI-DSS]
    features: [gpu, "on"]
    cost_multiplier: 2
    health_score: 95
    current_capacity: 3
    health:
      kind: http
      path: /up?full=1
      url: http://10.0.0.7:81/up
      interval: 2s
      timeout: 0.5
      fall: 4
      rise: 5
      leak_limit: 2.5
      hold_down: 0s
      slow: 1m
      statuses: [204, "300-399"]
      body_contains: "fine\\nthanks"
      headers: {X-Probe: "1"}
      verify_tls: off
services:
  - name: api
    strategy: weighted
    deployment: {type: active-passive, regions: [rack-7], weights: {rack-7: 2}}
    failback: scheduled
policies:
  - name: Health Data
    id: phi
    compliance_requirements: [hipaa]
    locality_level: region
    cross_region_transfer: yes
safety: {min_serving: 2, max_removed: 0.25, window: 1h, headroom: 12.5%, blind_share: 1}
""",
        "world.yaml",
    )
    (region,) = world.regions
    assert (region.name, region.provider, region.location) == ("Rack 7", CloudProvider.OTHER, "Oslo")
    assert (region.latitude, region.longitude, region.country) == (59.91, 10, "NO")
    assert region.capabilities == RegionCapabilities([ComplianceFramework.PCI_DSS], 12.5, ["gpu", "on"])
    assert (region.cost_multiplier, region.health_score, region.current_capacity) == (2, 95, 3)
    assert region.health == HealthCheck(
        kind=ProbeKind.HTTP,
        path="/up?full=1",
        url="http://10.0.0.7:81/up",
        interval_s=2,
        timeout_s=0.5,
        fall=4,
        rise=5,
        leak_limit=2.5,
        hold_down_s=0,
        slow_ms=60_000,
        statuses=((204, 204), (300, 399)),
        body_contains="fine\nthanks",
        headers={"X-Probe": "1"},
        verify_tls=False,
    )
    deployment = DeploymentSpec(DeploymentType.ACTIVE_PASSIVE, ("rack-7",), {"rack-7": 2})
    assert world.services == (
        Service("api", strategy=RoutingStrategy.WEIGHTED, deployment=deployment, failback=FailbackMode.SCHEDULED),
    )
    (policy,) = world.policies
    assert (policy.policy_id, policy.compliance_requirements) == ("phi", (ComplianceFramework.HIPAA,))
    assert (policy.allowed_regions, policy.locality_level, policy.cross_region_transfer) == (None, "region", True)
    assert world.limits == SafetyLimits(2, 0.25, 3600, 0.125, 1)


def test_what_health_leaves_out_comes_from_the_defaults() -> None:
    text = f"regions: [{{id: a, endpoint: 'http://a', {PLACED}, health: {{fall: 9}}}}]"
    defaults = HealthCheck(interval_s=7, rise=8, body_contains="x")
    assert load_world(text, "w", defaults).regions[0].health == replace(defaults, fall=9)


def test_a_region_without_health_follows_the_controller() -> None:
    assert load_world("regions: [{id: eu-west-1, endpoint: 'http://a'}]", "w").regions[0].health is None


@pytest.mark.parametrize("health", ["", ", health: {fall: 2}", ", health: {kind: tcp}"])
def test_a_tcp_target_is_probed_over_tcp(health: str) -> None:
    (region,) = load_world(f"regions: [{{id: eu-west-1, endpoint: 'tcp://a:1'{health}}}]", "w").regions
    assert region.health is not None and region.health.kind is ProbeKind.TCP


def test_a_provider_picks_among_regions_of_one_id() -> None:
    text = """
regions:
  - {id: eu-west-1, endpoint: "http://a"}
  - {id: "alibaba:eu-west-1", endpoint: "http://b"}
  - {id: us-east-1, provider: alibaba, endpoint: "http://c"}
  - {id: us-west-2, provider: other, endpoint: "http://d", latitude: 1, longitude: 2}
"""
    found = load_world(text, "w").regions
    assert [r.provider.value for r in found] == ["aws", "alibaba", "alibaba", "other"]
    assert [(r.name != r.region_id) for r in found] == [True, True, True, False]


def test_what_is_given_replaces_the_catalog() -> None:
    text = "regions: [{id: eu-west-1, endpoint: 'http://a', name: Mine, cost_multiplier: 3, latitude: 1, longitude: 2}]"
    (region,) = load_world(text, "w").regions
    assert (region.name, region.cost_multiplier, region.latitude, region.longitude) == ("Mine", 3, 1, 2)
    assert (region.country, region.location) == ("IE", "Dublin")


def test_aliases_and_merge_keys_work_and_own_keys_win() -> None:
    text = """
regions:
  - {id: eu-west-1, endpoint: "http://a", health: &p {fall: 4, rise: 5}}
  - {id: us-east-1, endpoint: "http://b", health: *p}
  - {id: us-west-2, endpoint: "http://c", health: {rise: 9, <<: *p}}
  - {id: eu-central-1, endpoint: "http://d", health: {<<: [{fall: 7}, *p]}}
"""
    found = [r.health for r in load_world(text, "w").regions]
    assert [(h.fall, h.rise) for h in found if h] == [(4, 5), (4, 5), (4, 9), (7, 5)]


def test_a_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbfregions: []\n")
    assert read_world(path) == World()


# --- whatever the text -------------------------------------------------------------------------


def loads_or_refuses(text: str) -> None:
    try:
        world = load_world(text, "fuzz.yaml")
    except WorldFileError as error:
        assert error.problems
        last = text.count("\n") + 2
        assert all(1 <= p.line <= last and p.allowed for p in error.problems if "\r" not in text)
    else:
        check_world(world)
        json.dumps(world.documents()).encode()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text(alphabet="[]{}:,-&*!|>#'\"% \nab01<?", max_size=60)))
def test_any_text_loads_or_is_refused(text: str) -> None:
    loads_or_refuses(text)


TOKENS = re.findall(r"[\w./%-]+|\s+|[^\w\s]", EXAMPLE.read_text("utf-8"))
SCRAPS = ["", "~", "no", "-1", "0", "1e9", ".inf", "0x10", "[", "}", ": ", "\n", "*probe", "<<", "!!str ", '"\\u0000"']


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(TOKENS) - 1), st.sampled_from(SCRAPS + TOKENS[:80])), min_size=1, max_size=3)
)
def test_the_example_with_any_words_replaced_loads_or_is_refused(edits: list[tuple[int, str]]) -> None:
    tokens = list(TOKENS)
    for position, word in edits:
        tokens[position] = word
    loads_or_refuses("".join(tokens))


def values() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("eu-west-1")
    keys = st.sampled_from(["id", "name", "endpoint", "health", "regions", "services", "policy", "deployment", "x"])
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["version", "regions", "services", "policies", "safety", "areas"]), values()))
def test_any_json_loads_or_is_refused(data: dict[str, Any]) -> None:
    try:
        check_world(world_from_json(data))
    except WorldFileError as error:
        json.dumps(
            [[p.field, p.value, p.allowed] for p in error.problems], allow_nan=False, ensure_ascii=False
        ).encode()


# --- what is published ---------------------------------------------------------------------------


def test_the_published_schema_is_the_one_that_the_code_makes() -> None:
    published = (ROOT / "docs" / "world.schema.json").read_text("utf-8")
    assert published == json.dumps(world_schema(), indent=2) + "\n", "write world_schema() to docs/world.schema.json"


def example_data() -> dict[str, Any]:
    return copy.deepcopy(dict(yaml.safe_load(EXAMPLE.read_text("utf-8"))))


def test_the_schema_accepts_the_example() -> None:
    jsonschema_rs.Draft202012Validator(world_schema(), validate_formats=True).validate(example_data())


EDITS: list[Callable[[dict[str, Any]], Any]] = [
    lambda d: d.pop("regions"),
    lambda d: d.update(areas=[]),
    lambda d: d.update(edges={}),
    lambda d: d.update(edges=[{"region": "eu-west-1"}]),
    lambda d: d.update(edges=[{"id": "e", "region": "eu-west-1", "listen": "localhost"}]),
    lambda d: d.update(edges=[{"id": "e", "region": "eu-west-1", "trusted_hops": -1}]),
    lambda d: d.update(edges=[{"id": "e", "region": "eu-west-1", "client_place": "moon"}]),
    lambda d: d.update(edges=[{"id": "e", "region": "eu-west-1", "networks": [{"name": "n", "cidrs": ["ten"]}]}]),
    lambda d: d["regions"][0].update(protocol="http3"),
    lambda d: d["services"][0].update(routes=[{"prefix": "api"}]),
    lambda d: d["services"][0].update(routes=[{"timeout": "-1s"}]),
    lambda d: d["services"][0].update(routes=[{"retries": 11}]),
    lambda d: d.update(version=2),
    lambda d: d.update(safety=None),
    lambda d: d["safety"].update(max_removed="150"),
    lambda d: d["safety"].update(min_serving=0),
    lambda d: d["regions"][0].pop("endpoint"),
    lambda d: d["regions"][0].update(id="a b"),
    lambda d: d["regions"][0].update(endpoint="ftp://a"),
    lambda d: d["regions"][0].update(latitude=91),
    lambda d: d["regions"][0].update(country=None),
    lambda d: d["regions"][0].update(max_capacity=0),
    lambda d: d["regions"][0].update(compliance=["gdpr", "gdpr"]),
    lambda d: d["regions"][0].update(health={"interval": "5 parsecs"}),
    lambda d: d["regions"][0].update(health={"statuses": []}),
    lambda d: d["regions"][0].update(health={"headers": {"a b": "c"}}),
    lambda d: d["services"][0].update(strategy="nearest"),
    lambda d: d["services"][0].update(deployment={"regions": ["eu-west-1"]}),
    lambda d: d["policies"][0].update(allowed_regions=[]),
    lambda d: d["policies"][0].update(cross_region_transfer="maybe"),
]


@pytest.mark.parametrize("edit", EDITS)
def test_schema_and_loader_refuse_the_same(edit: Callable[[dict[str, Any]], Any]) -> None:
    data = example_data()
    edit(data)
    assert not jsonschema_rs.Draft202012Validator(world_schema()).is_valid(data)
    with pytest.raises(WorldFileError):
        world_from_json(data)


DOCS = (ROOT / "docs" / "world-file.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ENTRIES.values(), ids=lambda kind: kind.__name__)
def test_every_key_is_in_the_docs(kind: Any) -> None:
    assert [key for key in kind.model_fields if f"\n| `{key}` |" not in DOCS] == []


def test_the_examples_in_the_docs_load() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert [len(load_world(block, "docs").regions) for block in blocks] == [1, 1, 2, 2]
