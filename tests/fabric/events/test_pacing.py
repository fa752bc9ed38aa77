"""The policy of the sender, decision by decision, at the test's own clock."""

import pytest

from fabric.events.outbox import PACK_BYTES
from fabric.events.pacing import (
    BURST,
    FULL_PIPE_DELAY,
    GATHER,
    HOLD,
    MAX_TAIL_DELAY,
    MAX_TURN,
    RATE,
    SEND,
    SLOW_SEND_BACKOFF,
    TAIL_DELAY,
    Pacing,
    TailPacing,
)

NOW = 1_000.0


@pytest.fixture
def pacing():
    """With a link."""
    pacing = Pacing(NOW)
    pacing.down = False
    return pacing


def decide(pacing, *, route=2, size=100, now=NOW):
    """The decision about one more event, as a publisher asks for it while the tail thread is asleep."""
    return pacing.decide(pacing.gathers(route, size), now)


def spend_burst(pacing, now=NOW):
    assert [decide(pacing, now=now) for _ in range(BURST)] == [SEND] * BURST
    pacing.gathered = 0


def alternate(pacing):
    """One event of each route in turn, long enough that the rate is exceeded, too."""
    return [decide(pacing, route=2 + number % 2, size=1) for number in range(100)]


# The publishers


def test_a_burst_is_sent_event_by_event_and_the_rest_gathers(pacing):
    spend_burst(pacing)
    assert decide(pacing) == GATHER


def test_events_below_the_rate_are_always_sent_at_once(pacing):
    decisions = []
    for number in range(10 * BURST):
        decisions.append(decide(pacing, now=NOW + number / RATE))
        pacing.gathered = 0
    assert set(decisions) == {SEND}


def test_a_rest_earns_a_burst_and_no_more(pacing):
    spend_burst(pacing)
    spend_burst(pacing, NOW + 3_600.0)
    assert decide(pacing, now=NOW + 3_600.0) == GATHER


def test_a_full_message_is_sent_whatever_the_rate(pacing):
    spend_burst(pacing)
    assert decide(pacing, size=PACK_BYTES - 1) == GATHER
    assert decide(pacing, size=1) == SEND


def test_where_routes_alternate_nothing_gathers(pacing):
    alternate(pacing)
    assert set(alternate(pacing)) == {SEND}


def test_runs_of_a_few_events_gather(pacing):
    for number in range(100):
        gathers = pacing.gathers(2 + number // 5 % 2, 1)
    assert gathers


def test_after_alternation_one_long_run_gathers(pacing):
    alternate(pacing)
    assert [pacing.gathers(9, 1) for _ in range(BURST)] == [False] * (BURST - 1) + [True]


def test_without_a_link_every_event_is_held(pacing):
    pacing.down = True
    assert {decide(pacing) for _ in range(100)} == {HOLD}
    assert pacing.blocked(NOW)


def test_after_a_full_pipe_events_are_held_until_the_next_attempt(pacing):
    pacing.full_until = NOW + FULL_PIPE_DELAY
    assert (decide(pacing), pacing.blocked(NOW)) == (HOLD, True)
    later = NOW + FULL_PIPE_DELAY
    assert (decide(pacing, now=later), pacing.blocked(later)) == (SEND, False)


def test_held_events_cost_nothing_of_the_burst(pacing):
    pacing.down = True
    for _ in range(100):
        decide(pacing)
    pacing.down, pacing.gathered = False, 0
    spend_burst(pacing)


def test_after_a_slow_send_events_are_left_to_the_tail_for_a_while(pacing):
    pacing.back_off(NOW)
    assert decide(pacing) == GATHER
    assert decide(pacing, now=NOW + SLOW_SEND_BACKOFF) == SEND


# The tail thread


def test_the_tail_sends_after_a_delay_without_activity(pacing):
    tail = TailPacing(pacing)
    assert (tail.delay, tail.is_quiet()) == (TAIL_DELAY, True)


def test_an_event_that_only_gathered_is_no_activity(pacing):
    tail = TailPacing(pacing)
    pacing.gathers(2, 100)
    assert tail.is_quiet()


@pytest.mark.parametrize(
    "act", [lambda pacing: decide(pacing, now=NOW + 1.0), lambda pacing: setattr(pacing, "sent_at", NOW)]
)
def test_a_decision_and_a_send_are_activity(pacing, act):
    tail = TailPacing(pacing)
    act(pacing)
    assert not tail.is_quiet()
    tail.back_off()
    assert tail.is_quiet()


def test_the_longer_publishers_are_active_the_rarer_the_tail_tries(pacing):
    tail = TailPacing(pacing)
    delays = []
    for _ in range(8):
        tail.back_off()
        delays.append(tail.delay)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (2 * TAIL_DELAY, MAX_TAIL_DELAY)


def test_after_a_turn_of_sending_the_tail_goes_on_at_once(pacing):
    tail = TailPacing(pacing)
    tail.sent(NOW, NOW + MAX_TURN / 2)
    assert (tail.delay, tail.is_quiet()) == (0.0, True)
    tail.back_off()
    assert tail.delay == TAIL_DELAY


def test_after_a_slow_turn_it_leaves_the_processor_to_others(pacing):
    tail = TailPacing(pacing)
    tail.sent(NOW, NOW + 2 * MAX_TURN)
    assert tail.delay == MAX_TAIL_DELAY


def test_a_full_pipe_is_tried_again_after_a_delay(pacing):
    tail = TailPacing(pacing)
    pacing.full_until = NOW + FULL_PIPE_DELAY
    tail.sent(NOW, NOW)
    assert tail.delay == TAIL_DELAY
