"""A router with real threads, real loops, and senders of the test's own."""

import asyncio
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from fabric.bus.bus import Bus
from fabric.routes.batch import Policy
from fabric.routes.model import Result
from fabric.routes.router import Router
from fabric.routes.scheduler import Limits
from fabric.testing import wait_until

QUICK = Policy(interval=0.0, attempts=2, backoff=0.01)


@pytest.fixture
def shown():
    """Lines that the terminal shows."""
    return []


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def make(shown, bus):
    """A function that makes routers, which are closed after the test."""
    made = []

    def make_router(**options):
        made.append(Router(**{"bus": bus, "write": shown.append, "policy": QUICK, **options}))
        return made[-1]

    yield make_router
    for router in made:
        router.close(1.0)


@pytest.fixture
def router(make):
    return make()


class Sent(list):
    """A sender that keeps its deliveries, and answers with `answer`, or raises it."""

    def __init__(self, answer=True):
        super().__init__()
        self.answer = answer

    def __call__(self, delivery):
        self.append(delivery)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_a_text_is_sent_by_its_platforms_sender_with_chat_and_message(router):
    sent = Sent()
    router.register("feishu", sent)
    message = {"from": "worker", "body": {"channel": "feishu:oc:1"}}
    assert router.route("feishu:oc:1", "hi", message).wait(10)
    [delivery] = sent
    assert (delivery.channel, delivery.platform, delivery.chat, delivery.text) == (
        "feishu:oc:1",
        "feishu",
        "oc:1",
        "hi",
    )
    assert delivery.messages == (message,)


def test_the_default_chat_is_the_platforms_else_that_of_the_environment(router, monkeypatch):
    sent = Sent()
    router.register("feishu", sent)
    monkeypatch.setenv("FEISHU_HOME_CHANNEL", "home")
    assert router.route("feishu", "1").wait(10)
    router.platform("feishu", default="set")
    assert router.route("feishu", "2").wait(10)
    assert router.route("feishu:own", "3").wait(10)
    assert [(each.channel, each.chat) for each in sent] == [
        ("feishu", "home"),
        ("feishu", "set"),
        ("feishu:own", "own"),
    ]


@pytest.mark.parametrize(
    "answer", [None, False, "sent", SimpleNamespace(ok=False), ValueError("broken"), SystemExit(1)]
)
def test_every_other_answer_is_a_failure_and_the_next_sender_is_asked(router, answer):
    first, second = Sent(answer), Sent()
    router.register("a", first, name="first")
    router.register("a", second, name="second")
    routing = router.route("a:1", "x")
    assert routing.wait(10)
    assert routing.via == "second"
    assert (len(first), len(second)) == (1, 1)
    assert router.stats()["fallbacks"] == 1


def test_a_text_that_cannot_be_sent_is_repeated_and_then_a_dead_letter(router, shown, bus):
    events = []
    bus.subscribe("fabric.route.dead_letter", events.append)
    sent = Sent(ValueError("broken"))
    router.register("a", sent, name="only")
    routing = router.route("a:1", "x\x1b[2J")
    assert routing.wait(10) is False
    assert routing.problem == "only: ValueError: broken"
    assert [each.attempt for each in sent] == [1, 2]
    assert len({each.id for each in sent}) == 1
    wait_until(lambda: shown and events, what="it is published and shown")
    assert shown == ["-- not sent to a:1 (only: ValueError: broken): x\\u001b[2J\n"]
    assert (events[0]["text"], events[0]["attempts"]) == ("x\x1b[2J", 2)
    assert {key: router.stats()[key] for key in ("accepted", "sent", "undelivered", "refused", "waiting")} == {
        "accepted": 1, "sent": 0, "undelivered": 1, "refused": 0, "waiting": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("channel", "problem"),
    [("b:1", "nobody sends to 'b'; there are: a"), ("", "names no platform"), (None, "not NoneType")],
)
def test_a_text_that_is_not_taken_has_failed_at_once_and_is_a_dead_letter(router, shown, channel, problem):
    router.register("a", Sent())
    routing = router.route(channel, "x")
    assert not routing.ok
    assert problem in routing.problem
    wait_until(lambda: shown, what="the line is shown")
    assert router.stats()["refused"] == 1


def test_a_burst_is_sent_together_and_never_into_another_channel(make):
    router = make(policy=Policy(interval=0.0))
    release, sent = threading.Event(), []

    def send(delivery):
        sent.append((delivery.chat, delivery.text))
        return release.wait(10)

    router.register("a", send)
    first = [router.route("a:1", "one"), router.route("a:2", "uno")]
    wait_until(lambda: len(sent) == 2, what="both begin")
    rest = [router.route(f"a:{chat}", text) for chat, text in [(1, "two"), (2, "dos"), (1, "three")]]
    release.set()
    assert all(routing.wait(10) for routing in first + rest)
    assert sorted(sent[:2]) == [("1", "one"), ("2", "uno")]
    assert sorted(sent[2:]) == [("1", "two\n\nthree"), ("2", "dos")]


def test_a_sender_that_hangs_delays_no_other_channel_and_is_skipped(make):
    router, release = make(), threading.Event()
    try:
        router.register("slow", lambda _: release.wait(30), name="hangs", timeout=0.05, concurrency=1)
        router.register("slow", Sent(), name="spare")
        router.register("fast", Sent())
        stuck = router.route("slow:1", "x")
        assert router.route("fast:1", "y").wait(10)
        assert stuck.wait(10)
        assert stuck.via == "spare"
        assert router.route("slow:2", "z").wait(10)
        assert router.stats()["senders"]["slow"][0]["hanging"] == 1
    finally:
        release.set()
    wait_until(lambda: not router.stats()["senders"]["slow"][0]["hanging"], what="it comes back")


def test_an_async_sender_has_a_loop_of_its_own_and_may_hang_there(router):
    loops = []

    async def send(delivery):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(30 if delivery.chat == "never" else 0)
        return True

    router.register("a", send, timeout=0.05)
    routings = [router.route("a:never", "x"), router.route("a:1", "y"), router.route("a:2", "z")]
    assert [routing.wait(10) for routing in routings] == [False, True, True]
    assert "did not answer within 0.05 s" in routings[0].problem or "TimeoutError" in routings[0].problem
    assert len(set(loops)) == 1


def test_an_async_sender_runs_on_the_loop_that_it_was_registered_in(router):
    async def main():
        here = asyncio.get_running_loop()

        async def send(_):
            return asyncio.get_running_loop() is here

        router.register("a", lambda delivery: send(delivery))
        return await router.route("a:1", "x")

    assert asyncio.run(main()) is True
    routing = router.route("a:1", "after its loop was closed")
    assert routing.wait(10) is False
    assert "loop that it was registered in is closed" in routing.problem


def test_a_full_queue_takes_no_text(make):
    router, release = make(limits=Limits(texts=1)), threading.Event()
    began = threading.Event()
    router.register("a", lambda _: began.set() or release.wait(10))
    first = router.route("a:1", "1")
    assert began.wait(10)
    second, third = router.route("a:1", "2"), router.route("a:1", "3")
    assert (second.ok, third.ok) == (True, False)
    assert "1 texts wait" in third.problem
    release.set()
    assert first.wait(10)
    assert second.wait(10)


def test_closing_sends_the_texts_that_wait_without_intervals_and_takes_no_more(make):
    router, sent = make(policy=Policy(interval=3_600.0)), Sent()
    router.register("a", sent)
    assert router.route("a:1", "1").wait(10)
    waiting = router.route("a:1", "2")
    assert router.close(10.0) is True
    assert waiting.sent
    assert [each.text for each in sent] == ["1", "2"]
    assert router.route("a:1", "3").problem == "the router is closed"


def test_closing_gives_up_texts_after_its_timeout_and_returns_false(make, shown):
    router, release, began = make(), threading.Event(), threading.Event()
    router.register("a", lambda _: began.set() or release.wait(30))
    routing = router.route("a:1", "1")
    assert began.wait(10)
    assert router.close(0.05) is False
    assert routing.problem == "the router was closed"
    assert shown == ["-- not sent to a:1 (the router was closed): 1\n"]
    release.set()


def test_closing_closes_the_senders_that_have_a_close():
    closed = []

    class Sender:
        def __call__(self, _):
            return True

        def close(self):
            closed.append(self)

    sender = Sender()
    with Router(write=None) as router:
        router.register("a", sender)
    router.close()
    assert closed == [sender]


def test_a_result_without_retry_ends_the_rounds(router):
    sent = Sent(Result(False, "no such chat", retry=False))
    router.register("a", sent)
    assert router.route("a:1", "x").wait(10) is False
    assert len(sent) == 1


def test_a_callback_of_a_routing_may_route(router):
    router.register("a", Sent())
    done = threading.Event()
    router.route("a:1", "x").when_done(lambda _: router.route("a:2", "y").when_done(lambda _: done.set()))
    assert done.wait(10)


def test_settings_are_checked(router):
    with pytest.raises(ValueError, match="at least"):
        router.register("a", Sent(), timeout=0)
    with pytest.raises(TypeError, match="no 'intervall'"):
        router.platform("a", intervall=3)


def test_a_forked_child_has_a_router_of_its_own_and_leaves_waiting_texts_to_its_parent():
    program = """
import os
from fabric.routes import Policy, Router
router = Router(policy=Policy(interval=3600))
router.register("a", lambda delivery: print(os.getpid() == parent, delivery.text, flush=True) is None)
parent = os.getpid()
router.route("a:1", "1").wait(10)
router.route("a:1", "waits")
if child := os.fork():
    os.waitpid(child, 0)
else:
    assert router.route("a:1", "child").wait(10)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("True 1\nFalse child\nTrue waits\n", "")


def test_a_program_that_ends_without_closing_sends_the_texts_that_wait():
    program = """
from fabric.routes import Policy, Router
router = Router(policy=Policy(interval=3600))
router.register("a", lambda delivery: print(delivery.text, flush=True) is None)
router.route("a:1", "1").wait(10)
router.route("a:1", "2")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("1\n2\n", "")
