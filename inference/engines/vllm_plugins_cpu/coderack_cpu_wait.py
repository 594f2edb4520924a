"""Has the processes of vLLM's CPU engine wait for each other without spinning. Runs inside the engine, as its plugin.

An engine's core and its worker hand each other messages through shared memory. vLLM 0.32 has whoever waits for one look
again and again for a second before it waits to be woken. Between GPUs that saves microseconds; here it takes a core from
what computes, the whole time that a model answers, and a second for each of the pool's requests where nobody asks.

Imports the standard library and what the engine slot holds only.
"""

import functools
import inspect
import logging

SPIN_S = 0.001  # a message that follows at once is met without a wake-up
PARAMETER = "busy_loop_s"


def register() -> None:
    """Called by vLLM in each of its processes, before any of them waits.

    An engine in which this can't be done serves all the same.
    """
    try:
        from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
    except ImportError as error:
        logging.getLogger("coderack").warning("this vLLM waits otherwise; its processes may spin: %s", error)
        return
    original = SpinCondition.__init__
    if isinstance(inspect.getattr_static(SpinCondition, "__init__"), functools.partialmethod):
        return
    if PARAMETER not in inspect.signature(original).parameters:
        logging.getLogger("coderack").warning("this vLLM waits otherwise; its processes may spin: no %s", PARAMETER)
        return
    SpinCondition.__init__ = functools.partialmethod(original, **{PARAMETER: SPIN_S})
