"""The actor on the other machine, as far as it needs no Ray."""

import subprocess
import sys

# What it would wait for: its creator was killed before it could say anything, or while Ray had no room.
LEFT_ALONE = """
import sys, time
from inference.pool.ray import hand
hand.UNUSED_S = 0.1
made = hand.Hand()
{then}
time.sleep(60)
sys.exit(3)
"""
REFUSED = "assert 'refused' in made.start('node', {}, '/no/such/python', '/no/such/root', b'{}')"


def test_an_actor_that_starts_nothing_ends_by_itself():
    for then in ("", REFUSED):
        ended = subprocess.run([sys.executable, "-c", LEFT_ALONE.format(then=then)], timeout=50, check=False)
        assert ended.returncode == 0
