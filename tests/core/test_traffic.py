"""The names of classes: no two share one, and each tells its service."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.traffic import TrafficClass, service_of

services = st.text(st.sampled_from("%~@+7E2540web") | st.characters(exclude_categories=["Cs"]), max_size=12)
laws = st.lists(st.sampled_from(["gdpr", "hipaa"]), unique=True).map(lambda names: tuple(sorted(names)))
areas = st.sampled_from(["", "EU", "office"])


def name_of(service: str, law: tuple[str, ...] = (), area: str = "") -> str:
    return TrafficClass(service, law, area, ()).name


@given(services, laws, areas)
def test_the_name_of_a_class_tells_its_service(service: str, law: tuple[str, ...], area: str) -> None:
    assert service_of(name_of(service, law, area)) == service


Parts = tuple[str, tuple[str, ...], str]


@given(st.tuples(services, laws, areas), st.tuples(services, laws, areas))
def test_no_two_classes_share_a_name(one: Parts, two: Parts) -> None:
    assert (name_of(*one) == name_of(*two)) is (one == two)


@pytest.mark.parametrize(
    ("service", "law", "area", "name"),
    [
        ("api", (), "", "api"),
        ("api", ("gdpr",), "", "api~gdpr"),
        ("api", ("gdpr", "hipaa"), "EU", "api~gdpr+hipaa@EU"),
        ("web~eu", (), "", "web%7Eeu"),
        ("a%7Eb@c", ("gdpr",), "", "a%257Eb%40c~gdpr"),
    ],
)
def test_how_a_class_is_called(service: str, law: tuple[str, ...], area: str, name: str) -> None:
    assert name_of(service, law, area) == name
    assert service_of(name) == service
