"""Batches: their rounds through the senders."""

from fabric.routes.batch import MAX_RETRY_AFTER, Batch, ChannelSenders, PlatformSender, Policy, QueuedText
from fabric.routes.model import Result

FAILED = Result(False, "no")
REFUSED = Result(False, "never", retry=False)


def batch(*senders, chat="c", **policy):
    return Batch(1, "a", (QueuedText("a", "text"),), ChannelSenders(senders, chat, Policy(**policy)))


def sender(name, **options):
    return PlatformSender(name, None, **options)


def test_senders_are_asked_in_order_until_none_is_left():
    one, two = sender("one"), sender("two")
    made = batch(one, two)
    assert made.next_sender() is one
    made.failed(one, FAILED)
    assert made.next_sender() is two
    made.failed(two, Result(False))
    assert made.next_sender() is None
    assert made.problem() == "one: no; two: failed"


def test_a_full_sender_is_the_next_one_and_a_stuck_sender_is_skipped():
    full, stuck = sender("full", concurrency=1, calls=1), sender("stuck", concurrency=1, calls=1, hanging=1)
    assert (full.is_full, full.is_stuck, stuck.is_stuck) == (True, False, True)
    made = batch(stuck, full)
    assert made.next_sender() is full
    assert made.problem() == "stuck: 1 calls of it hang"
    assert stuck.failed == 1


def test_a_sender_that_needs_a_chat_is_skipped_without_one():
    assert batch(sender("one"), chat="").next_sender() is None
    free = sender("two", needs_chat=False)
    assert batch(sender("one"), free, chat="").next_sender() is free


def test_rounds_end_after_the_attempts_or_when_all_have_refused():
    one = sender("one")
    made = batch(one, attempts=2, backoff=4.0)
    made.failed(one, FAILED)
    assert made.next_round(10.0)
    assert (made.not_before, made.next_sender()) == (14.0, one)
    made.failed(one, FAILED)
    assert not made.next_round(20.0)
    made = batch(one, attempts=5)
    made.failed(one, REFUSED)
    assert not made.next_round(0.0)


def test_each_round_has_its_own_problems_and_pauses():
    one = sender("one")
    made = batch(one, backoff=1.0)
    made.failed(one, Result(False, "slow down", after=1e9))
    assert made.next_round(0.0)
    assert made.not_before == MAX_RETRY_AFTER
    made.failed(one, FAILED)
    assert made.problem("closed") == "one: no; closed"
    assert made.next_round(0.0)
    assert made.not_before == 2.0


def test_without_a_sender_there_is_no_round():
    made = batch()
    assert made.next_sender() is None
    assert not made.next_round(0.0)
    assert made.problem() == "nobody sends to its platform"
