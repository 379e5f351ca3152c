"""Runs that are stopped by every signal, at twenty moments, in every framework."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MOMENTS = 20
SAVE_EVERY = 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_lost_that_was_kept(backend):
    """Asked to stop, a run loses no step; killed, at most those since its last checkpoint."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", TESTS / "crashes.py", backend.name, str(MOMENTS)],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert Counter(one["signal"] for one in found) == dict.fromkeys(
        ("SIGINT", "SIGTERM", "SIGKILL"), MOMENTS
    )
    assert all(one["same"] for one in found)
    for one in found:
        assert one["lost"] <= (SAVE_EVERY if one["signal"] == "SIGKILL" else 0), one
    assert len({one["at"] for one in found}) > MOMENTS / 2  # the moments are spread
