import pytest

from wildlam.models import transformer
from wildlam.models.transformer import Size


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(transformer.SIZES, "tiny", Size(width=16, depth=2, heads=1))
