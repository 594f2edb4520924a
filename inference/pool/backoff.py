"""How long a failed replica waits before it is started again.

1, 2, 4 … up to 60 s; an engine that failed five times in a row without having served for a minute in between is taken for
broken, and tried only every five minutes: somebody may have mended it.
"""

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0
CRASH_LOOP_FAILURES = 5
CRASH_LOOP_DELAY_S = 300.0


def delay_s(failures: int) -> float:
    """Seconds to wait after this many failures in a row (1 for the first)."""
    if failures >= CRASH_LOOP_FAILURES:
        return CRASH_LOOP_DELAY_S
    return float(min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** max(0, failures - 1)))
