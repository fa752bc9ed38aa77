"""Queues, batches, slots and outcomes: without a thread, a clock or a sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.routes.batch import MAX_RETRY_AFTER, ChannelSenders, PlatformSender, Policy, QueuedText
from fabric.routes.model import SENT, Result
from fabric.routes.scheduler import TIMEOUT_MARGIN, Limits, Scheduler

FAILED = Result(False, "no")
REFUSED = Result(False, "never", retry=False)


def sender(name="one", **options):
    return PlatformSender(name, None, **options)


class World:
    """A scheduler and the calls that it has begun, at a time that the test sets."""

    def __init__(self, *senders, limits=None, chat="c", **policy):
        self.now = 0.0
        self.scheduler = Scheduler(lambda channel: ChannelSenders(senders, chat, Policy(**policy)), limits or Limits())
        self.running = []

    def put(self, *texts, channel="a"):
        return [self.scheduler.put(QueuedText(channel, text), self.now) for text in texts]

    def begin(self):
        begun = self.scheduler.begin(self.now)
        self.running += begun
        return [("+".join(text.text for text in each.batch.texts), each.sender.name) for each in begun]

    def end(self, result=SENT, index=0):
        self.scheduler.ended(self.running.pop(index).number, result, self.now)

    def after(self, seconds):
        self.now += seconds
        self.scheduler.tick(self.now)
        return self.begin()

    def settled(self):
        return [
            ("+".join(text.text for text in each.batch.texts), each.via or each.problem)
            for each in self.scheduler.settled()
        ]


def test_the_first_text_is_sent_at_once_and_a_burst_together_after_the_interval():
    world = World(sender(), interval=30.0)
    world.put("1")
    assert world.begin() == [("1", "one")]
    world.put("2", "3")
    world.end()
    assert world.after(29.9) == []
    world.put("4")
    assert world.after(0.1) == [("2+3+4", "one")]
    assert world.settled() == [("1", "one")]


def test_texts_that_come_during_a_batch_wait_for_the_next_one():
    world = World(sender(), interval=0.0)
    world.put("1")
    world.begin()
    world.put("2")
    assert world.begin() == []
    world.end()
    assert world.begin() == [("2", "one")]


def test_channels_are_never_merged_and_do_not_wait_for_each_other():
    world = World(sender(), interval=30.0)
    world.put("a1", "a2")
    world.put("b1", "b2", channel="b")
    assert world.begin() == [("a1+a2", "one"), ("b1+b2", "one")]


def test_a_batch_has_limits_and_a_longer_text_is_sent_alone():
    world = World(sender(), interval=0.0, max_texts=2, max_characters=5)
    world.put("1", "2", "3", "x" * 9, "123", "45", "6")
    sent = []
    while begun := world.begin():
        sent += [text for text, _ in begun]
        world.end()
    assert sent == ["1+2", "3", "x" * 9, "123+45", "6"]


def test_the_next_sender_is_asked_at_once_when_one_fails():
    world = World(sender("one"), sender("two"))
    world.put("1")
    world.begin()
    world.end(FAILED)
    assert world.begin() == [("1", "two")]
    world.end()
    assert world.settled() == [("1", "two")]


def test_rounds_are_repeated_with_exponential_backoff_up_to_the_attempts():
    world = World(sender(), attempts=4, backoff=1.0, max_backoff=3.0)
    world.put("1")
    pauses = []
    world.begin()
    for _ in range(3):
        world.end(FAILED)
        assert world.begin() == []
        due = world.scheduler.next_time()
        pauses.append(due - world.now)
        assert world.after(due - world.now) == [("1", "one")]
    world.end(FAILED)
    world.begin()
    assert pauses == [1.0, 2.0, 3.0]
    assert world.settled() == [("1", "one: no")]
    assert world.scheduler.is_idle


def test_texts_behind_a_batch_that_is_repeated_keep_their_order():
    world = World(sender(), interval=0.0)
    world.put("1")
    world.begin()
    world.put("2")
    world.end(FAILED)
    assert world.begin() == []
    assert world.after(1.0) == [("1", "one")]
    world.end()
    assert world.begin() == [("2", "one")]


def test_a_sender_that_refuses_for_good_is_not_asked_again():
    world = World(sender("one"), sender("two"))
    world.put("1")
    world.begin()
    world.end(REFUSED)
    world.begin()
    world.end(FAILED)
    world.begin()
    assert world.after(1.0) == [("1", "two")]
    world.end(REFUSED)
    world.begin()
    assert world.settled() == [("1", "two: never")]


def test_a_pause_that_a_sender_asks_for_is_kept_up_to_the_maximum():
    world = World(sender())
    world.put("1")
    world.begin()
    world.end(Result(False, "slow down", after=7.0))
    assert world.begin() == []
    assert world.scheduler.next_time() == 7.0
    world.after(7.0)
    world.end(Result(False, "slow down", after=1e9))
    world.begin()
    assert world.scheduler.next_time() == 7.0 + MAX_RETRY_AFTER


def test_a_call_that_exceeds_its_timeout_has_failed_and_keeps_its_slot():
    one = sender("one", timeout=10.0)
    world = World(one, sender("two"))
    world.put("1")
    world.begin()
    assert world.after(9.9) == []
    assert world.scheduler.next_time() == 10.0 + TIMEOUT_MARGIN
    assert world.after(0.1 + TIMEOUT_MARGIN) == [("1", "two")]
    assert (one.calls, one.hanging) == (1, 1)
    world.end(FAILED)
    assert (one.calls, one.hanging) == (0, 0)
    world.end()
    assert world.settled() == [("1", "two")]


def test_a_late_success_ends_the_rounds():
    one = sender("one", timeout=1.0)
    world = World(one)
    world.put("1")
    world.begin()
    world.after(1.0 + TIMEOUT_MARGIN)
    world.end(SENT)
    assert world.settled() == [("1", "one")]
    assert world.after(100.0) == []


def test_a_sender_whose_slots_all_hang_fails_at_once():
    world = World(sender("one", concurrency=1, timeout=1.0), sender("two"), interval=0.0)
    world.put("1")
    world.put("2", channel="b")
    assert world.begin() == [("1", "one")]
    assert world.after(1.0 + TIMEOUT_MARGIN) == [("1", "two"), ("2", "two")]
    world.put("3", channel="c")
    assert world.begin() == [("3", "two")]


def test_channels_get_the_slots_of_a_full_sender_in_order():
    world = World(sender("one", concurrency=1))
    for channel in "abc":
        world.put(channel, channel=channel)
    order = []
    while begun := world.begin():
        order += [text for text, _ in begun]
        assert len(world.running) == 1
        world.end()
    assert order == ["a", "b", "c"]


def test_a_free_slot_that_its_channel_does_not_need_any_more_is_offered_to_the_next():
    one = sender("one", concurrency=2, timeout=1.0)
    world = World(one, interval=0.0)
    world.put("1", channel="a")
    world.begin()
    assert world.after(1.0 + TIMEOUT_MARGIN) == []  # it hangs, and keeps its slot
    world.put("2", channel="b")
    assert world.begin() == [("2", "one")]
    assert world.after(1.0) == []  # the second round of a waits for a slot
    world.put("3", channel="c")
    assert world.begin() == []
    world.end()  # the late success of a, whose place in the queue is void now
    assert world.begin() == [("3", "one")]
    assert world.settled() == [("1", "one")]


def test_a_sender_that_needs_a_chat_is_not_asked_without_one():
    world = World(sender("one"), sender("two", needs_chat=False), chat="")
    world.put("1")
    assert world.begin() == [("1", "two")]
    world = World(sender("one"), chat="")
    world.put("1")
    assert world.begin() == []
    assert world.settled() == [("1", "one: the channel has no chat, and its platform no default")]


def test_channels_texts_and_characters_that_wait_are_bounded():
    world = World(sender(), limits=Limits(channels=2, texts=2, characters=10))
    assert world.put("1", "2") == ["", ""]
    assert world.put("3") == ["2 texts wait for this channel, no more are taken"]
    assert world.put("x" * 9, channel="b") == ["texts of 10 characters wait, no more are taken"]
    assert world.put("b", channel="b") == [""]
    assert world.put("c", channel="c") == ["texts wait for 2 channels, no more are taken"]
    world.begin()
    for _ in range(2):
        world.end()
    assert (world.scheduler.texts, world.scheduler.characters) == (0, 0)


def test_a_channel_is_forgotten_when_its_interval_is_over():
    world = World(sender(), interval=5.0, limits=Limits(channels=1))
    world.put("1")
    world.begin()
    world.end()
    world.after(4.0)
    assert world.put("b", channel="b") != [""]
    world.after(1.0)
    assert world.put("b", channel="b") == [""]


def test_intervals_can_be_skipped():
    world = World(sender(), interval=30.0)
    world.put("1")
    world.begin()
    world.end()
    world.put("2")
    assert world.begin() == []
    world.scheduler.skip_intervals(world.now)
    assert world.begin() == [("2", "one")]


def test_skipping_intervals_does_not_shorten_the_back_off():
    world = World(sender(), interval=0.3)
    world.put("1")
    world.begin()
    world.end()
    world.put("2")
    world.scheduler.skip_intervals(world.now)
    world.begin()
    world.end(FAILED)
    assert world.begin() == []
    assert world.after(0.5) == []
    assert world.after(0.5) == [("2", "one")]


def test_texts_that_are_given_up_are_undeliverable_with_the_problems_so_far():
    world = World(sender(), interval=0.0)
    world.put("1")
    world.begin()
    world.put("2")
    world.end(FAILED)
    world.scheduler.give_up("closed")
    assert world.settled() == [("1", "one: no; closed"), ("2", "closed")]
    assert world.scheduler.is_idle


@given(st.data())
def test_every_text_is_settled_once_in_its_channel_and_in_order(data):
    senders = [sender(str(number), concurrency=2, timeout=1.0) for number in range(data.draw(st.integers(1, 3)))]
    world = World(*senders, interval=data.draw(st.sampled_from([0.0, 1.0])), attempts=2)
    put, settled = {}, {}
    results = st.sampled_from([SENT, FAILED, REFUSED])

    def look():
        for each in world.scheduler.settled():
            settled.setdefault(each.batch.channel, []).extend(text.text for text in each.batch.texts)
            assert {text.channel for text in each.batch.texts} == {each.batch.channel}

    for number in range(data.draw(st.integers(0, 40))):
        step = data.draw(st.integers(0, 3))
        if step == 0:
            channel = data.draw(st.sampled_from("abc"))
            world.put(str(number), channel=channel)
            put.setdefault(channel, []).append(str(number))
        elif step == 1 and world.running:
            world.end(data.draw(results), data.draw(st.integers(0, len(world.running) - 1)))
        else:
            world.after(data.draw(st.sampled_from([0.1, 1.0, 3.0])))
        world.begin()
        look()
    for _ in range(1_000):
        if world.scheduler.is_idle:
            break
        while world.running:
            world.end(data.draw(results))
        world.after(1.0)
        look()
    look()
    assert settled == put
    assert world.scheduler.characters == 0
    while world.running:
        world.end()
    assert [(each.calls, each.hanging) for each in senders] == [(0, 0)] * len(senders)


def test_a_platform_without_a_sender_is_the_problem():
    world = World()
    world.put("1")
    world.begin()
    assert world.settled() == [("1", "nobody sends to its platform")]


@pytest.mark.parametrize("result", [SENT, FAILED])
def test_a_call_that_returns_after_all_was_given_up_changes_nothing(result):
    world = World(sender())
    world.put("1")
    world.begin()
    world.scheduler.give_up("closed")
    world.end(result)
    assert world.settled() == [("1", "closed")]
