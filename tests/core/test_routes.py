"""What routes must be to be declared, and the hosts of services beside each other."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.routes import RouteClass, check_hosts, check_routes
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.testing.builders import service


def test_routes_that_make_sense_are_taken() -> None:
    check_routes(())
    check_routes(
        [
            RouteClass("/stream/", timeout_s=0, attempt_timeout_s=30),
            RouteClass("/api", retries=0),
            RouteClass("/", timeout_s=2, attempt_timeout_s=0.5, retry_keyed=True, retries=10),
        ]
    )


@pytest.mark.parametrize(
    ("routes", "field"),
    [
        ([RouteClass("api")], "routes.0.prefix"),
        ([RouteClass("")], "routes.0.prefix"),
        ([RouteClass("/a b")], "routes.0.prefix"),
        ([RouteClass("/a?b=c")], "routes.0.prefix"),
        ([RouteClass("/"), RouteClass("/api")], "routes.1.prefix"),
        ([RouteClass("/api"), RouteClass("/api")], "routes.1.prefix"),
        ([RouteClass("/api"), RouteClass("/api/v1")], "routes.1.prefix"),
        ([RouteClass("/", timeout_s=-1)], "routes.0.timeout_s"),
        ([RouteClass("/", timeout_s=float("nan"))], "routes.0.timeout_s"),
        ([RouteClass("/", timeout_s=2, attempt_timeout_s=2)], "routes.0.attempt_timeout_s"),
        ([RouteClass("/", attempt_timeout_s=0)], "routes.0.attempt_timeout_s"),
        ([RouteClass("/", timeout_s=86_401)], "routes.0.timeout_s"),
        ([RouteClass("/", attempt_timeout_s=0.0009)], "routes.0.attempt_timeout_s"),
        ([RouteClass("/", retries=11)], "routes.0.retries"),
        ([RouteClass("/", retries=True)], "routes.0.retries"),
        ([RouteClass("/", retry_keyed="yes")], "routes.0.retry_keyed"),  # type: ignore[arg-type]  # from outside
    ],
)
def test_a_route_that_makes_no_sense_is_refused_at_the_field(routes: list[RouteClass], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_routes(routes)
    assert caught.value.field == field


paths = st.text("/ab", max_size=4).map("/".__add__)


@given(st.lists(paths, unique=True, max_size=5), paths)
def test_the_first_route_that_fits_is_the_one_with_the_longest_prefix(prefixes: list[str], path: str) -> None:
    try:
        check_routes([RouteClass(prefix) for prefix in prefixes])
    except InvalidInputError:
        assert any(second.startswith(first) for first, second in combinations(prefixes, 2))
        return
    fitting = [prefix for prefix in prefixes if path.startswith(prefix)]
    assert fitting[:1] == sorted(fitting, key=len)[-1:]


def test_a_host_belongs_to_one_service() -> None:
    check_hosts([service("a", hosts=("x.test", "*.x.test")), service("b", hosts=("y.test",)), service("c")])
    with pytest.raises(InvalidInputError, match=r"services\.b\.hosts.*service a does"):
        check_hosts([service("a", hosts=("x.test",)), service("b", hosts=("y.test", "X.TEST"))])
