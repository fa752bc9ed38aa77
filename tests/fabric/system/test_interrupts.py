"""Signal handlers and finalisers detect which functions they interrupt."""

import signal

from fabric.system.interrupts import interrupts


def raise_a_signal():
    signal.raise_signal(signal.SIGUSR1)


INTERRUPTED = frozenset([raise_a_signal.__code__])


def test_a_signal_handler_detects_the_function_that_it_interrupts():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(check()))
    try:
        raise_a_signal()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True, False]


def test_a_finaliser_detects_the_function_that_it_interrupts():
    seen = []

    class Finalised:
        def __del__(self):
            seen.append(check())

    def drop(value):
        del value

    interrupted = frozenset([drop.__code__])

    def check():
        return interrupts(interrupted)

    drop(Finalised())
    assert seen == [True]


def test_the_caller_itself_does_not_count():
    def check_itself():
        return interrupts(frozenset([check_itself.__code__]))

    assert not check_itself()


def check():
    return interrupts(INTERRUPTED)
