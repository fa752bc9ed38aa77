import pytest

from fabric.node.barriers import RESEND_INTERVAL, Barriers


class Wire:
    """Stands in for sender and receiver: records the probes and their subscriptions."""

    def __init__(self):
        self.subscribed, self.probes, self.resent, self.woken = [], [], 0, 0

    def subscribe_probe(self, prefix):
        assert prefix not in self.probes, "the subscription must precede the probe"
        self.subscribed.append(prefix)

    def unsubscribe_probe(self, prefix):
        self.subscribed.remove(prefix)

    def begin_probe(self, prefix):
        self.probes.append(prefix)

    def end_probe(self, prefix):
        self.probes.remove(prefix)

    def resend_probes(self):
        self.resent += 1

    def wake(self):
        self.woken += 1


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def barriers(wire):
    return Barriers(wire, wire, wire.wake)


def come_back(barriers, *prefixes):
    """The probes return, and the control thread settles them."""
    for prefix in prefixes:
        barriers.returned(prefix)
    for prefix in barriers.take_returned():
        barriers.settle(prefix)


def test_a_barrier_is_done_when_its_own_probe_has_returned(barriers, wire):
    with barriers.round_trip() as first, barriers.round_trip() as second:
        come_back(barriers, wire.probes[1])
        assert (first.done(), second.done()) == (False, True)
        come_back(barriers, wire.probes[0])
        assert first.done()


def test_each_barrier_has_a_prefix_of_its_own_and_wakes_the_control_thread(barriers, wire):
    with barriers.round_trip(), barriers.round_trip():
        assert len(set(wire.probes)) == 2
        assert wire.subscribed == wire.probes
        assert wire.woken == 2


def test_a_barrier_that_has_ended_leaves_nothing(barriers, wire):
    with barriers.round_trip():
        assert len(barriers) == 1
        prefix = wire.probes[0]
    assert (len(barriers), wire.probes, wire.subscribed) == (0, [], [])
    come_back(barriers, prefix)


def test_a_probe_that_returns_twice_settles_its_barrier_once(barriers, wire):
    with barriers.round_trip() as done:
        come_back(barriers, wire.probes[0], wire.probes[0])
        assert done.done()


def test_a_probe_that_returned_on_a_lost_link_does_not_count(barriers, wire):
    with barriers.round_trip() as done:
        barriers.returned(wire.probes[0])
        barriers.link_lost()
        come_back(barriers)
        assert not done.done()


def test_probes_are_sent_again_while_a_barrier_is_pending(barriers, wire):
    barriers.service(0.0)
    with barriers.round_trip():
        for tick in range(1, 9):
            barriers.service(tick * RESEND_INTERVAL / 2)
        assert wire.resent == 3
    barriers.service(100.0)
    assert wire.resent == 3
