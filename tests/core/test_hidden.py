"""What is kept back of a declared thing wherever it is shown."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.hidden import NOT_SHOWN, without_secrets


def test_values_of_probe_headers_are_kept_back_and_nothing_else() -> None:
    headers = {"authorization": "Bearer 1", "host": "a"}
    region = {"region_id": "a", "health": {"path": "/healthz", "headers": headers}}
    shown = without_secrets(region)
    assert shown == {
        "region_id": "a",
        "health": {"path": "/healthz", "headers": {"authorization": NOT_SHOWN, "host": NOT_SHOWN}},
    }
    assert headers["authorization"] == "Bearer 1"


@pytest.mark.parametrize(
    "document",
    [None, {}, {"health": None}, {"health": "good"}, {"health": {"headers": {}}}, {"health": {"headers": "x"}}],
)
def test_anything_else_is_as_it_was(document: object) -> None:
    assert without_secrets(document) == document
