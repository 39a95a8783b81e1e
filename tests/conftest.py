"""For the suite's own tests: no user's store is touched, and simulations run only when they are asked for."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    """Every test has a store of its own."""
    monkeypatch.setenv("CLAIMS_STORE", str(tmp_path_factory.mktemp("store")))


def pytest_configure(config):
    """Register the opt-in marker."""
    config.addinivalue_line("markers", "simulation: minutes of repetitions, run by -m simulation")


def pytest_collection_modifyitems(config, items):
    """Leave simulations out unless ``-m`` names them."""
    if "simulation" not in (config.option.markexpr or ""):
        skip = pytest.mark.skip(reason="a simulation: run it by -m simulation")
        for item in items:
            if item.get_closest_marker("simulation"):
                item.add_marker(skip)
