"""What fails again and again is left alone for a while."""

from fabric.rules.running.circuit_breaker import CircuitBreaker


def test_so_many_failures_in_a_row_and_it_rests():
    rest = CircuitBreaker(3, 10.0)
    assert [rest.failed(1.0), rest.failed(2.0), rest.rests(2.0)] == [False, False, False]
    assert rest.failed(3.0)
    assert [rest.rests(now) for now in (3.0, 12.9, 13.0)] == [True, True, False]


def test_one_success_and_the_failures_before_are_forgotten():
    rest = CircuitBreaker(2, 10.0)
    rest.failed(1.0)
    rest.succeeded()
    assert not rest.failed(2.0)
    assert not rest.rests(2.0)


def test_after_a_rest_the_first_failure_is_enough():
    rest = CircuitBreaker(3, 10.0)
    for now in (1.0, 2.0, 3.0):
        rest.failed(now)
    assert rest.failed(14.0)
    assert rest.rests(20.0)


def test_without_a_cooldown_it_never_rests():
    rest = CircuitBreaker(1, 0.0)
    assert not rest.failed(1.0)
    assert not rest.rests(1.0)
