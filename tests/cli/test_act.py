"""demo: what it answers to mistakes."""

import pytest


@pytest.mark.parametrize(("option", "value"), [("--steps", 0), ("--episodes", -3)])
def test_an_impossible_demo_films_nothing(refused, tmp_path, option, value):
    assert refused("demo", option, value) == f"{option} must be at least 1, got {value}"
    assert not (tmp_path / "runs").exists()
