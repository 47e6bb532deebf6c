"""What is said of endpoints that edges cannot carry as they are written."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.endpoints import localities

from .plans import kind, target


def test_a_path_in_an_endpoint_is_said_not_to_be_put_before_those_of_requests() -> None:
    _, problems = localities(kind([target("a", "http://127.0.0.1:9001/base")]).tiers, {})
    (problem,) = problems
    assert problem.resource == "/a" and "/base" in problem.reason
    assert problem.carried, "requests still go there"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9001", "http://127.0.0.1:9001/"])
def test_an_endpoint_without_a_path_is_as_it_should_be(endpoint: str) -> None:
    assert localities(kind([target("a", endpoint)]).tiers, {})[1] == ()
