"""How long a failed replica waits."""

from inference.pool.backoff import delay_s


def test_it_doubles_from_one_second():
    assert [delay_s(failures) for failures in (1, 2, 3, 4)] == [1, 2, 4, 8]


def test_it_tries_a_crash_looping_engine_only_every_five_minutes():
    assert {delay_s(failures) for failures in (5, 6, 50, 5000)} == {300}


def test_it_waits_a_second_where_nothing_failed_yet():
    assert delay_s(0) == 1
