"""The back ends that read videos: torchcodec where FFmpeg's libraries let it be loaded."""

from __future__ import annotations

import pytest


def torchcodec_loads() -> bool:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return False
    return True


needs_torchcodec = pytest.mark.skipif(not torchcodec_loads(), reason="torchcodec cannot be loaded")
BACKENDS = ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)]
