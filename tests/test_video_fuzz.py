from __future__ import annotations

import pytest

from tests.video.ffmpeg import needs_ffmpeg
from tests.video_fuzz import fuzz


@needs_ffmpeg
@pytest.mark.slow
def test_no_random_film_is_read_otherwise_than_ffmpeg_shows_it():
    """The short form of ``python -m tests.video_fuzz``."""
    tally, wrong = fuzz(videos=20, seed=0)
    assert sum(count for (_, verdict), count in tally.items() if verdict in ("right", "refused")) == 20, wrong
