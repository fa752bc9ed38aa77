"""What waits, whose turn it is, and what becomes of it: without a thread, a clock or a sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.routes.model import SENT, Result
from fabric.routes.scheduler import (
    MARGIN,
    MAX_AFTER,
    ChannelSenders,
    Limits,
    PlatformSender,
    Policy,
    QueuedText,
    Scheduler,
)

FAILED = Result(False, "no")
REFUSED = Result(False, "never", retry=False)


def sender(name="one", **options):
    return PlatformSender(name, None, **options)


class Fabric:
    """A traffic at a time of the test's own."""

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


def test_the_first_text_goes_at_once_and_a_burst_goes_together_after_the_interval():
    fabric = Fabric(sender(), interval=30.0)
    fabric.put("1")
    assert fabric.begin() == [("1", "one")]
    fabric.put("2", "3")
    fabric.end()
    assert fabric.after(29.9) == []
    fabric.put("4")
    assert fabric.after(0.1) == [("2+3+4", "one")]
    assert fabric.settled() == [("1", "one")]


def test_what_comes_while_a_batch_is_under_way_waits_for_the_next():
    fabric = Fabric(sender(), interval=0.0)
    fabric.put("1")
    fabric.begin()
    fabric.put("2")
    assert fabric.begin() == []
    fabric.end()
    assert fabric.begin() == [("2", "one")]


def test_channels_are_never_merged_and_do_not_wait_for_each_other():
    fabric = Fabric(sender(), interval=30.0)
    fabric.put("a1", "a2")
    fabric.put("b1", "b2", channel="b")
    assert fabric.begin() == [("a1+a2", "one"), ("b1+b2", "one")]


def test_a_batch_has_limits_and_a_text_that_is_longer_goes_alone():
    fabric = Fabric(sender(), interval=0.0, max_texts=2, max_characters=5)
    fabric.put("1", "2", "3", "x" * 9, "123", "45", "6")
    sent = []
    while begun := fabric.begin():
        sent += [text for text, _ in begun]
        fabric.end()
    assert sent == ["1+2", "3", "x" * 9, "123+45", "6"]


def test_the_next_sender_is_asked_at_once_when_one_fails():
    fabric = Fabric(sender("one"), sender("two"))
    fabric.put("1")
    fabric.begin()
    fabric.end(FAILED)
    assert fabric.begin() == [("1", "two")]
    fabric.end()
    assert fabric.settled() == [("1", "two")]


def test_rounds_are_repeated_with_a_growing_pause_and_then_it_is_undeliverable():
    fabric = Fabric(sender(), attempts=4, backoff=1.0, max_backoff=3.0)
    fabric.put("1")
    pauses = []
    fabric.begin()
    for _ in range(3):
        fabric.end(FAILED)
        assert fabric.begin() == []
        due = fabric.scheduler.next_time()
        pauses.append(due - fabric.now)
        assert fabric.after(due - fabric.now) == [("1", "one")]
    fabric.end(FAILED)
    fabric.begin()
    assert pauses == [1.0, 2.0, 3.0]
    assert fabric.settled() == [("1", "one: no")]
    assert fabric.scheduler.is_idle


def test_what_waits_behind_a_batch_that_is_repeated_keeps_its_place():
    fabric = Fabric(sender(), interval=0.0)
    fabric.put("1")
    fabric.begin()
    fabric.put("2")
    fabric.end(FAILED)
    assert fabric.begin() == []
    assert fabric.after(1.0) == [("1", "one")]
    fabric.end()
    assert fabric.begin() == [("2", "one")]


def test_a_sender_that_will_never_take_it_is_not_asked_again():
    fabric = Fabric(sender("one"), sender("two"))
    fabric.put("1")
    fabric.begin()
    fabric.end(REFUSED)
    fabric.begin()
    fabric.end(FAILED)
    fabric.begin()
    assert fabric.after(1.0) == [("1", "two")]
    fabric.end(REFUSED)
    fabric.begin()
    assert fabric.settled() == [("1", "two: never")]


def test_a_pause_that_a_sender_asks_for_is_kept_within_reason():
    fabric = Fabric(sender())
    fabric.put("1")
    fabric.begin()
    fabric.end(Result(False, "slow down", after=7.0))
    assert fabric.begin() == []
    assert fabric.scheduler.next_time() == 7.0
    fabric.after(7.0)
    fabric.end(Result(False, "slow down", after=1e9))
    fabric.begin()
    assert fabric.scheduler.next_time() == 7.0 + MAX_AFTER


def test_a_sender_that_does_not_answer_in_time_has_failed_and_keeps_its_place():
    one = sender("one", timeout=10.0)
    fabric = Fabric(one, sender("two"))
    fabric.put("1")
    fabric.begin()
    assert fabric.after(9.9) == []
    assert fabric.scheduler.next_time() == 10.0 + MARGIN
    assert fabric.after(0.1 + MARGIN) == [("1", "two")]
    assert (one.calls, one.hanging) == (1, 1)
    fabric.end(FAILED)
    assert (one.calls, one.hanging) == (0, 0)
    fabric.end()
    assert fabric.settled() == [("1", "two")]


def test_a_late_success_ends_the_repeating():
    one = sender("one", timeout=1.0)
    fabric = Fabric(one)
    fabric.put("1")
    fabric.begin()
    fabric.after(1.0 + MARGIN)
    fabric.end(SENT)
    assert fabric.settled() == [("1", "one")]
    assert fabric.after(100.0) == []


def test_a_sender_whose_places_all_hang_fails_at_once_and_others_go_on():
    fabric = Fabric(sender("one", concurrency=1, timeout=1.0), sender("two"), interval=0.0)
    fabric.put("1")
    fabric.put("2", channel="b")
    assert fabric.begin() == [("1", "one")]
    assert fabric.after(1.0 + MARGIN) == [("1", "two"), ("2", "two")]
    fabric.put("3", channel="c")
    assert fabric.begin() == [("3", "two")]


def test_a_busy_sender_is_waited_for_in_turn():
    fabric = Fabric(sender("one", concurrency=1))
    for channel in "abc":
        fabric.put(channel, channel=channel)
    order = []
    while begun := fabric.begin():
        order += [text for text, _ in begun]
        assert len(fabric.running) == 1
        fabric.end()
    assert order == ["a", "b", "c"]


def test_a_place_that_nobody_takes_is_offered_to_the_next():
    one = sender("one", concurrency=1, timeout=1.0)
    fabric = Fabric(one, interval=0.0)
    for channel in "abc":
        fabric.put(channel, channel=channel)
    fabric.begin()
    fabric.scheduler._lanes.pop("b")  # as if it had been settled meanwhile
    fabric.end()
    assert fabric.begin() == [("c", "one")]


def test_a_sender_that_needs_a_chat_is_not_asked_without_one():
    fabric = Fabric(sender("one"), sender("two", needs_chat=False), chat="")
    fabric.put("1")
    assert fabric.begin() == [("1", "two")]
    fabric = Fabric(sender("one"), chat="")
    fabric.put("1")
    assert fabric.begin() == []
    assert fabric.settled() == [("1", "one: the channel has no chat, and its platform no default")]


def test_what_may_wait_is_bounded_in_channels_texts_and_characters():
    fabric = Fabric(sender(), limits=Limits(channels=2, texts=2, characters=10))
    assert fabric.put("1", "2") == ["", ""]
    assert fabric.put("3") == ["2 texts wait for this channel, no more are taken"]
    assert fabric.put("x" * 9, channel="b") == ["texts of 10 characters wait, no more are taken"]
    assert fabric.put("b", channel="b") == [""]
    assert fabric.put("c", channel="c") == ["texts wait for 2 channels, no more are taken"]
    fabric.begin()
    for _ in range(2):
        fabric.end()
    assert (fabric.scheduler.texts, fabric.scheduler.characters) == (0, 0)


def test_a_channel_is_forgotten_when_its_interval_is_over():
    fabric = Fabric(sender(), interval=5.0, limits=Limits(channels=1))
    fabric.put("1")
    fabric.begin()
    fabric.end()
    fabric.after(4.0)
    assert fabric.put("b", channel="b") != [""]
    fabric.after(1.0)
    assert fabric.put("b", channel="b") == [""]


def test_in_a_hurry_there_are_no_intervals():
    fabric = Fabric(sender(), interval=30.0)
    fabric.put("1")
    fabric.begin()
    fabric.end()
    fabric.put("2")
    assert fabric.begin() == []
    fabric.scheduler.hurry(fabric.now)
    assert fabric.begin() == [("2", "one")]


def test_a_hurry_does_not_shorten_a_pause_between_rounds():
    fabric = Fabric(sender(), interval=0.3)
    fabric.put("1")
    fabric.begin()
    fabric.end()
    fabric.put("2")
    fabric.scheduler.hurry(fabric.now)
    fabric.begin()
    fabric.end(FAILED)
    assert fabric.begin() == []
    assert fabric.after(0.5) == []
    assert fabric.after(0.5) == [("2", "one")]


def test_what_is_given_up_is_undeliverable_with_what_was_wrong_before():
    fabric = Fabric(sender(), interval=0.0)
    fabric.put("1")
    fabric.begin()
    fabric.put("2")
    fabric.end(FAILED)
    fabric.scheduler.give_up("closed")
    assert fabric.settled() == [("1", "one: no; closed"), ("2", "closed")]
    assert fabric.scheduler.is_idle


@given(st.data())
def test_every_text_is_settled_once_in_its_channel_and_in_order(data):
    senders = [sender(str(number), concurrency=2, timeout=1.0) for number in range(data.draw(st.integers(1, 3)))]
    fabric = Fabric(*senders, interval=data.draw(st.sampled_from([0.0, 1.0])), attempts=2)
    put, settled = {}, {}
    results = st.sampled_from([SENT, FAILED, REFUSED])

    def look():
        for each in fabric.scheduler.settled():
            settled.setdefault(each.batch.channel, []).extend(text.text for text in each.batch.texts)
            assert {text.channel for text in each.batch.texts} == {each.batch.channel}

    for number in range(data.draw(st.integers(0, 40))):
        step = data.draw(st.integers(0, 3))
        if step == 0:
            channel = data.draw(st.sampled_from("abc"))
            fabric.put(str(number), channel=channel)
            put.setdefault(channel, []).append(str(number))
        elif step == 1 and fabric.running:
            fabric.end(data.draw(results), data.draw(st.integers(0, len(fabric.running) - 1)))
        else:
            fabric.after(data.draw(st.sampled_from([0.1, 1.0, 3.0])))
        fabric.begin()
        look()
    for _ in range(1_000):
        if fabric.scheduler.is_idle:
            break
        while fabric.running:
            fabric.end(data.draw(results))
        fabric.after(1.0)
        look()
    look()
    assert settled == put
    assert fabric.scheduler.characters == 0
    while fabric.running:
        fabric.end()
    assert [(each.calls, each.hanging) for each in senders] == [(0, 0)] * len(senders)


def test_the_reason_of_no_sender_is_told():
    fabric = Fabric()
    fabric.put("1")
    fabric.begin()
    assert fabric.settled() == [("1", "nobody sends to its platform")]


@pytest.mark.parametrize("result", [SENT, FAILED])
def test_an_end_after_all_was_given_up_changes_nothing(result):
    fabric = Fabric(sender())
    fabric.put("1")
    fabric.begin()
    fabric.scheduler.give_up("closed")
    fabric.end(result)
    assert fabric.settled() == [("1", "closed")]
