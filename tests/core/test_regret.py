"""Regret in figures, by hand."""

import pytest

from mahavishnu.integrations.multi_region.core.regret import Choice, Score, choose, score


def test_the_least_estimate_is_chosen_among_what_was_measured() -> None:
    found = choose("here", {"a": 30.0, "b": 12.0}, {"a": 5.0, "b": 6.0, "c": 1.0})
    assert found == Choice("here", "a", "b", 30.0, 12.0)
    assert found.regret_ms == 18.0


def test_of_equals_the_first_id() -> None:
    assert choose("here", {"b": 3.0, "a": 3.0}, {"b": 7.0, "a": 7.0}).chosen == "a"


def test_an_equally_good_region_is_no_miss() -> None:
    assert score([choose("here", {"b": 3.0, "a": 3.0}, {"b": 6.0, "a": 7.0})]).top_1 == 1.0


def test_a_score_by_hand() -> None:
    choices = [Choice(str(regret), "a", "b", 10.0 + regret, 10.0) for regret in (0.0, 0.0, 40.0, 20.0)]
    found = score(choices)
    assert found == Score(4, 0.5, 15.0, found.p95_ms, 40.0, 0.25)
    assert found.p95_ms == pytest.approx(37.0)
