"""A fixture: ``huggingface_hub`` that talks to a Hub on this machine, with a cache and a user of its own."""

import pytest


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hub, at which ``me`` is logged in."""
    from huggingface_hub import constants  # what most tests need not wait for

    from .fake_hub import FakeHub

    with FakeHub().serving() as fake:
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        template = fake.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "hf_me")
        yield fake
