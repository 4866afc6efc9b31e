"""One of two processes is killed while training: torchrun starts both again, and nothing is lost or changed."""

import sys

import pytest

from tests.faults.ranks import kill_ranks


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_process_costs_nothing_but_time(videos, tmp_path):
    assert kill_ranks(videos, tmp_path, kills=1) == {"kills": 1, "same": 1}
