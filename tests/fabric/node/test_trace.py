"""Tracing a topic: the answer of one node, the trace from many answers, and real nodes."""

import functools
import signal
import subprocess
import sys

import orjson
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from fabric.bus.bus import Bus
from fabric.node import trace as tracing
from fabric.node.trace import TraceAnswer, TracedSubscription, answer, handler_name, near_miss, read_answer, trace
from fabric.protocol.topics import matches
from tests.processes import stop

ORIGIN = b"\x01" * 8
SEGMENTS = st.sampled_from(["a", "b", "A", "order", "ordre", "*", "**"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=5).map(".".join)
TOPICS = PATTERNS.map(lambda pattern: pattern.replace("**", "c").replace("*", "d"))


def hear(_event):
    pass


async def hear_async(_event):
    pass


class Callable:
    def __call__(self, event):
        pass

    def method(self, event):
        pass

    def __repr__(self):
        raise AssertionError("somebody's repr is not called")


def answered(topic, *patterns, callback=hear):
    bus = Bus()
    for pattern in patterns:
        bus.subscribe(pattern, callback)
    return read_answer(orjson.loads(orjson.dumps(answer(topic, list(bus), node="app", origin=ORIGIN))))


# One node's answer


def test_an_answer_names_matching_subscriptions_in_their_order_and_whether_they_are_async():
    bus = Bus()
    bus.subscribe("order.*", hear)
    bus.subscribe("invoice.**", hear)
    bus.subscribe("order.**", hear_async)
    found = read_answer(answer("order.created", list(bus), node="app", origin=ORIGIN))
    name = f"{__name__}.hear"
    assert found.matching == (
        TracedSubscription("order.*", name),
        TracedSubscription("order.**", f"{name}_async", True),
    )
    assert (found.matched, found.subscriptions, found.near) == (2, 3, ())
    assert (found.node, found.origin) == ("app", ORIGIN.hex())


def test_a_callback_is_named_by_its_qualified_name_and_never_by_its_repr():
    made = Callable()
    assert handler_name(hear) == f"{__name__}.hear"
    assert handler_name(made) == f"{__name__}.Callable"
    assert handler_name(made.method) == f"{__name__}.Callable.method"
    assert handler_name(functools.partial(functools.partial(hear, 1), 2)) == f"{__name__}.hear"
    assert handler_name([].append) == "list.append"


def test_a_generated_name_is_cut_and_can_be_encoded():
    def odd(_event):
        pass

    odd.__qualname__ = "\ud800" + "x" * 1_000
    orjson.dumps(handler_name(odd))
    assert len(handler_name(odd)) == tracing.MAX_HANDLER


def test_an_answer_is_bounded_and_has_the_number_of_all_subscriptions():
    many = ["a.b"] * 150 + [f"a.b{index}" for index in range(2_000)]
    found = answered("a.b", *many)
    assert (len(found.matching), found.matched, found.subscriptions) == (100, 150, 2_150)
    assert found.near == ()
    found = answered("a.b", *many[150:])
    assert (len(found.near), found.matched) == (100, 0)


def test_near_misses_come_nearest_first():
    found = answered("order.created", "order.deleted", "order.creatd", "order", "Order.created", "other")
    assert [each.pattern for each in found.near] == ["Order.created", "order", "order.creatd", "order.deleted"]


def test_an_answer_has_the_subscribed_prefixes_of_the_topic_also_of_patterns_that_do_not_match():
    found = answered("a.b.c", "a.*.d", "a.**", "**", "a.b.c", "x.**")
    assert set(found.prefixes) == {b"a.", b"", b"a.b.c\0"}
    assert found.complete


# Why not


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("Order.Created.eu", "only upper and lower case differ"),
        ("order.*", "* stands for one segment; order.** would match"),
        ("*", "* stands for one segment; ** would match"),
        ("order.created.eu.*", "* stands for one segment; order.created.eu.** would match"),
        ("order", "it does not reach below order; order.** would match"),
        ("order.created", "it does not reach below order.created; order.created.** would match"),
        ("order.created.eu.late", "it wants one more segment, 'late'"),
        ("order.creatd.eu", "segment 2 is 'created', not 'creatd'"),
        ("order.deleted.eu", "segment 2 is 'created', not 'deleted'"),
        ("**.us", None),
        ("**.created.us", "segment 3 is 'eu', not 'us'"),
        ("other", None),
        ("invoice.sent.us", None),
        ("*.*.us", None),
    ],
)
def test_a_near_miss_has_a_reason(pattern, why):
    assert not matches(pattern, "order.created.eu")
    found = near_miss(pattern, "order.created.eu")
    assert (found and found.why) == why


@given(PATTERNS, TOPICS)
def test_a_pattern_that_a_reason_recommends_matches(pattern, topic):
    if matches(pattern, topic):
        return
    found = near_miss(pattern, topic)
    if found is not None and found.why.endswith(" would match"):
        assert matches(found.why.split()[-3], topic)


def test_a_pattern_of_a_hundred_wildcards_costs_no_more_than_others():
    assert near_miss(".".join(["*"] * 120), "a.b") is None


# The asker


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_a_value_that_is_no_answer_is_none(value):
    assert read_answer(value) is None
    good = answer("a", [], node="app", origin=ORIGIN)
    for key in good:
        found = read_answer({**good, key: value})
        assert found is None or isinstance(found, TraceAnswer)


def test_a_prefix_that_no_node_claims_is_an_unknown_subscribers():
    replies = [answer("a.b", [], node="app", origin=ORIGIN)]
    found = trace("a.b", replies, [{"origin": ORIGIN.hex(), "pid": 7, "host": "h"}], {b"a", b"", b"a.b\0"}.__contains__)
    assert found.unclaimed == (b"", b"a", b"a.b\0")
    assert found.reached
    assert (found.answers[0].pid, found.answers[0].host, found.silent) == (7, "h", ())


def test_a_listed_node_that_does_not_answer_is_silent():
    listed = [{"origin": "01", "node": "old"}]
    found = trace("a", [None, False, {"node": 1}], listed, lambda prefix: False)
    assert found.silent == tuple(listed)
    assert not found.reached


# Real nodes

OTHER = """
import sys, fabric
node = fabric.connect("other", url=sys.argv[1])
def handler(event): print("got it")
node.subscribe("order.*", handler).wait_ready()
node.subscribe("order", handler).wait_ready()
print("ready", flush=True)
sys.stdin.read()
node.close()
"""


@pytest.fixture
def other(fabric_proxy):
    """A node in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, fabric_proxy.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.send_signal(signal.SIGCONT)


def test_a_node_asks_all_others_and_nothing_is_published(other, fabric_proxy, fabric_node):
    node = fabric_node("asker")
    node.subscribe("order.created", hear).wait_ready()
    found = node.trace("order.created")
    here, there = found.answers
    assert (here.node, [each.pattern for each in here.matching]) == ("asker", ["order.created"])
    assert (there.node, there.pid) == ("other", other.pid)
    assert there.matching == (TracedSubscription("order.*", "__main__.handler"),)
    assert [each.pattern for each in there.near] == ["order"]
    assert (found.silent, found.unclaimed, found.reached) == ((), (), True)
    assert node.stats()["sent"] == 0
    assert other.communicate("")[0] == ""


def test_a_node_that_is_stopped_is_silent_and_delays_no_other_answer(other, fabric_proxy, fabric_node):
    node = fabric_node("asker")
    stop(other.pid)
    found = node.trace("nobody.wants.this", timeout=1.0)
    assert [each.node for each in found.answers] == ["asker"]
    assert [each["pid"] for each in found.silent] == [other.pid]


def test_a_plain_zeromq_subscriber_appears_as_an_unclaimed_prefix(fabric_proxy, fabric_node):
    node = fabric_node("asker")
    with zmq.Context() as context, context.socket(zmq.SUB) as stranger:
        stranger.linger = 0
        stranger.connect(node.address.events_out)
        stranger.subscribe(b"ord")
        while not (found := node.trace("order.created")).unclaimed:
            pass
    assert found.unclaimed == (b"ord",)
    assert found.reached


def test_an_invalid_topic_is_refused_by_the_asking_and_by_the_answering_node(fabric_proxy, fabric_node):
    asker, asked = fabric_node("asker"), fabric_node("asked")
    with pytest.raises(ValueError, match="wildcard"):
        asker.trace("a.*")
    assert asker._connected.messaging.queries.ask_all({"trace": "a..b"}, 5.0).result(5) == [None]
    assert asker._connected.messaging.queries.ask_all({"trace": 7}, 5.0).result(5) == [None]
    assert asked.state == "up"
