"""When an engine counts as hung."""

from inference.pool.pulse import Pulse
from inference.pool.store import Counters


def counters(tokens):
    return Counters(0, tokens, 1, 0, 0.0, 0.0)


def test_it_takes_silence_for_a_hang_only_after_the_time_is_over():
    pulse = Pulse(8)
    pulse.canary_sent(100)
    assert not pulse.is_hung(107.9)
    assert pulse.is_hung(108)


def test_it_counts_from_the_first_of_several_failed_canaries():
    pulse = Pulse(8)
    pulse.canary_sent(100)
    pulse.canary_sent(105)
    assert pulse.is_hung(108)


def test_it_is_calmed_by_an_answer():
    pulse = Pulse(8)
    pulse.canary_sent(100)
    pulse.canary_succeeded()
    assert not pulse.is_hung(1000)


def test_it_counts_anew_when_tokens_are_generated():
    pulse = Pulse(8)
    pulse.counters_read(counters(1), 99)
    pulse.canary_sent(100)
    pulse.counters_read(counters(2), 107)
    pulse.counters_read(counters(2), 109)
    assert not pulse.is_hung(114)
    assert pulse.is_hung(115)


def test_it_never_suspects_an_engine_that_was_asked_nothing():
    pulse = Pulse(8)
    pulse.counters_read(counters(1), 0)
    assert not pulse.is_hung(1000)


def test_being_at_work_counts_as_life_for_a_bounded_time():
    pulse = Pulse(8, at_work_s=30)
    pulse.canary_sent(100)
    for now in range(105, 150, 5):
        pulse.at_work(now)
    assert pulse.silent_s(140) == 40
    assert not pulse.is_hung(129.9)
    assert pulse.is_hung(130)
    pulse.canary_succeeded()
    assert pulse.silent_s(150) == 0


def test_a_token_gives_the_whole_time_again():
    pulse = Pulse(8, at_work_s=30)
    pulse.counters_read(counters(1), 99)
    pulse.canary_sent(100)
    pulse.counters_read(counters(2), 125)
    pulse.at_work(150)
    assert not pulse.is_hung(154)
    assert pulse.is_hung(155)


def test_being_at_work_says_nothing_where_it_is_not_asked_about():
    pulse = Pulse(8)
    pulse.canary_sent(100)
    pulse.at_work(107)
    assert pulse.is_hung(108)
