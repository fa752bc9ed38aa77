"""Signal handlers and finalisers know what they are in the middle of."""

import signal

from fabric.system.interrupts import interrupts


def sends():
    signal.raise_signal(signal.SIGUSR1)


HOLDERS = frozenset([sends.__code__])


def test_a_signal_handler_knows_what_it_interrupts():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(asks()))
    try:
        sends()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True, False]


def test_a_finaliser_knows_what_it_interrupts():
    seen = []

    class Told:
        def __del__(self):
            seen.append(asks())

    def lets_go(told):
        del told

    holders = frozenset([lets_go.__code__])

    def asks():
        return interrupts(holders)

    lets_go(Told())
    assert seen == [True]


def test_who_asks_interrupts_nothing_itself():
    def asks_itself():
        return interrupts(frozenset([asks_itself.__code__]))

    assert not asks_itself()


def asks():
    return interrupts(HOLDERS)
