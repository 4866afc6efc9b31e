import pytest

from wildlam.models import blocks
from wildlam.models.blocks import Size


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(blocks.SIZES, "tiny", Size(width=16, depth=2, heads=1))
