"""Texts are handed to a host at once, or when it is idle again."""

import asyncio
import threading
from time import monotonic

import pytest

from fabric.errors import Closed
from fabric.rules.item import message_item
from fabric.rules.running.host import Host
from fabric.testing import wait_until


@pytest.fixture
def make():
    made = []

    def make_host(*arguments, **options):
        made.append(Host(*arguments, **options))
        return made[-1]

    yield make_host
    for each in made:
        each.close()


def put(host, text, *, now=False, reports=None):
    reports = [] if reports is None else reports
    host.put(text, message_item({"id": text}), "r", now=now, report=reports.append)
    return reports


def test_an_idle_host_finds_each_text_in_its_queue(make):
    host = make()
    assert put(host, "a") == [None]
    put(host, "b")
    assert len(host) == 2
    assert [each.text for each in host.poll()] == ["a", "b"]
    with pytest.raises(TimeoutError):
        host.get(0.0)


def test_texts_for_a_busy_host_are_handed_over_together_when_it_is_idle(make):
    host = make()
    with host.working():
        assert host.is_busy
        assert put(host, "a") == []
        put(host, "b")
        assert host.poll() == []
        assert len(host) == 2
    (handed,) = host.poll()
    assert (handed.text, handed.busy, handed.rules) == ("a\n\nb", False, ("r", "r"))
    assert [item.id for item in handed.items] == ["a", "b"]
    host.idle()
    put(host, "c")
    assert [each.text for each in host.poll()] == ["c"]


def test_a_text_that_cannot_wait_is_handed_over_at_once_and_marked_busy(make):
    host = make()
    host.busy()
    put(host, "later")
    put(host, "now", now=True)
    assert [(each.text, each.busy) for each in host.poll()] == [("now", True)]
    host.idle()
    assert [(each.text, each.busy) for each in host.poll()] == [("later", False)]


def test_a_callback_gets_texts_in_order_on_a_thread_of_its_own(make):
    seen = []
    host = make(lambda handed: seen.append((handed.text, threading.current_thread().name)))
    reports = [put(host, text) for text in "abc"]
    wait_until(lambda: reports == [[None]] * 3)
    assert seen == [(text, "fabric-rules-inbox") for text in "abc"]
    with pytest.raises(RuntimeError, match="no queue"):
        host.poll()


def test_a_host_may_have_both_callback_and_queue(make):
    seen = []
    host = make(lambda handed: seen.append(handed.text), queue=True)
    put(host, "a")
    assert host.get(1).text == "a"
    wait_until(lambda: seen == ["a"])


def test_a_callback_that_raises_is_reported_and_gets_the_next_text(make):
    seen = []

    def callback(handed):
        seen.append(handed.text)
        if handed.text == "a":
            raise ValueError("no")

    host = make(callback)
    first, second = put(host, "a"), put(host, "b")
    assert host.wait(monotonic() + 10)
    wait_until(lambda: second == [None])
    assert first == ["the host's callback raised ValueError: no"]
    assert seen == ["a", "b"]


def test_a_callback_that_hangs_blocks_no_put_and_its_queue_is_bounded(make):
    gate, entered = threading.Event(), threading.Event()
    host = make(lambda handed: entered.set() or gate.wait(10), limit=2)
    reports = [put(host, "0")]
    assert entered.wait(10)
    reports += [put(host, str(number)) for number in range(1, 5)]
    assert [bool(each) for each in reports] == [False, True, True, False, False]
    assert "too slow, or has hung" in reports[1][0]
    assert host.dropped == 2
    gate.set()


def test_a_host_that_never_reads_or_is_never_idle_loses_the_oldest_texts_and_they_are_counted(make):
    host = make(limit=3)
    for number in range(5):
        put(host, str(number))
    assert ([each.text for each in host.poll()], host.dropped) == (["2", "3", "4"], 2)
    host.busy()
    reports = [put(host, str(number)) for number in range(5)]
    assert ["gathered" in str(each) for each in reports] == [True, True, False, False, False]
    host.idle()
    assert (host.get(1).text, host.dropped) == ("2\n\n3\n\n4", 4)


def test_the_characters_that_are_gathered_are_bounded(make):
    host = make(max_characters=5)
    host.busy()
    put(host, "aaa")
    put(host, "bbbbbbbbb")
    host.idle()
    assert (host.get(1).text, host.dropped) == ("bbbbbbbbb", 1)


def test_a_coroutine_waits_for_the_next_text(make):
    host = make()

    async def main():
        waiting = asyncio.create_task(host.aget(10))
        await asyncio.sleep(0)
        await asyncio.to_thread(put, host, "a")
        return (await waiting).text

    assert asyncio.run(main()) == "a"


def test_a_coroutine_function_is_no_callback(make):
    async def callback(handed): ...

    with pytest.raises(TypeError, match="aget"):
        make(callback)


def test_a_closed_host_gives_the_texts_in_its_queue_and_then_raises(make):
    host = make()
    put(host, "a")
    host.close()
    assert host.get().text == "a"
    with pytest.raises(Closed):
        host.get()


def test_a_host_may_have_another_separator(make):
    host = make(separator="\n--\n")
    with host.working():
        put(host, "a")
        put(host, "b")
    assert host.get(1).text == "a\n--\nb"
