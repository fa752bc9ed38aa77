"""Events of other systems: topics, payloads, and that the other system is not affected."""

import asyncio
import functools
import inspect

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.bus.bus import Bus
from fabric.mirror import MAX_FRAME, Mirror, flatten, read_frame, topic_of


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def events(bus):
    """The envelopes, without their times, of all events on `bus`."""
    found = []
    bus.subscribe("**", lambda event: found.append({key: value for key, value in event.items() if key != "ts"}))
    return found


@pytest.mark.parametrize(
    ("prefix", "event", "topic"),
    [
        ("tui", "message.delta", "tui.message.delta"),
        ("gateway", "agent:start", "gateway.agent.start"),
        ("gateway", "gateway:startup", "gateway.startup"),
        ("gateway", "gateway", "gateway"),
        ("gateway", "gateway.startup", "gateway.startup"),
        ("gateway", "gatewayed", "gateway.gatewayed"),
        ("gateway", "command:a:b", "gateway.command.a.b"),
    ],
)
def test_the_topic_of_an_event_has_the_prefix_once_and_dots(prefix, event, topic):
    assert topic_of(prefix, event) == topic


@pytest.mark.parametrize("event", ["", "a::b", "a b", "*", ":"])
def test_a_name_that_is_no_topic_is_an_error(event):
    with pytest.raises(ValueError):
        topic_of("tui", event)


def test_keys_of_a_payload_that_are_stamps_or_ids_are_renamed():
    payload = {"type": "x", "ts": 1, "src": "y", "session_id": "other", "name": "grep"}
    assert flatten({"session_id": "s1"}, payload) == {
        "session_id": "s1", "type_": "x", "ts_": 1, "src_": "y", "session_id_": "other", "name": "grep",
    }  # fmt: skip
    assert flatten({"session_id": None}, {"session_id": "own"}) == {"session_id": "own"}
    assert flatten({"session_id": "same"}, {"session_id": "same"}) == {"session_id": "same"}
    assert flatten({}, "no mapping") == {}


def test_an_emitter_is_called_unchanged_and_mirrored_afterwards(bus, events):
    calls = []

    def emit(event, sid, payload=None):
        """Write it."""
        calls.append((event, sid, payload, len(events)))
        return 7

    mirrored = Mirror(bus.publish, "tui").emitter(emit)
    assert mirrored("tool.start", "s1", {"name": "grep"}) == 7
    assert mirrored("error", sid="s1") == 7
    assert mirrored("a", payload={"x": 1}, sid=None) == 7
    assert calls == [("tool.start", "s1", {"name": "grep"}, 0), ("error", "s1", None, 1), ("a", None, {"x": 1}, 2)]
    assert events == [
        {"type": "tui.tool.start", "src": "tui", "session_id": "s1", "name": "grep"},
        {"type": "tui.error", "src": "tui", "session_id": "s1"},
        {"type": "tui.a", "src": "tui", "x": 1},
    ]
    assert mirrored.__doc__ == "Write it."


def test_an_emitter_that_raises_raises_and_is_no_event(bus, events):
    def emit(_event, _sid, _payload):
        raise KeyError("original")

    with pytest.raises(KeyError, match="original"):
        Mirror(bus.publish, "tui").emitter(emit)("a", "s", {})
    assert events == []


def test_a_bus_that_fails_does_not_affect_the_emitter_and_is_counted():
    def publish(_topic, _payload):
        raise RuntimeError("no")

    mirror = Mirror(publish, "tui")
    assert mirror.emitter(lambda event, sid, payload: payload)("a", "s", {"k": 1}) == {"k": 1}
    assert mirror.emitter(lambda *args: len(args))("not a topic") == 1
    assert mirror.emitter(lambda *args: len(args))() == 0
    assert mirror.stats() == {"failed": 3}


def test_an_async_emitter_stays_async(bus, events):
    async def emit(event, sid, payload):
        await asyncio.sleep(0)
        return payload

    mirrored = Mirror(bus.publish, "tui").emitter(emit)
    assert inspect.iscoroutinefunction(mirrored)
    assert asyncio.run(mirrored("a", "s", {"k": 1})) == {"k": 1}
    assert [event["type"] for event in events] == ["tui.a"]


class Registry:
    """A hook registry: handlers by event, two ways to dispatch, one of which uses the other."""

    def __init__(self, events=()):
        self.events = events
        self.handled = []

    def emit(self, event, context=None):
        self.handled.append((event, context, len(self.events)))
        if event == "bad:one":
            raise KeyError("original")
        return len(self.handled)

    def emit_collect(self, event, context=None):
        return [self.emit(event, context)]

    async def emit_async(self, event, context=None):
        await asyncio.sleep(0)
        return [self.emit(event, context)]

    def other(self, event):
        return event


def test_every_dispatching_method_is_mirrored_once_before_its_handlers_run(bus, events):
    registry = Registry(events)
    Mirror(bus.publish, "gateway").hooks(registry)
    context = {"platform": "feishu", "type": "own"}
    assert registry.emit("gateway:startup", context) == 1
    assert registry.emit_collect("command:new", context) == [2]
    assert asyncio.run(registry.emit_async("agent:start", {"platform": "feishu"})) == [3]
    assert registry.other("x") == "x"
    assert [event["type"] for event in events] == ["gateway.startup", "gateway.command.new", "gateway.agent.start"]
    assert events[0] == {"type": "gateway.startup", "src": "gateway", "platform": "feishu", "type_": "own"}
    assert [seen for _, _, seen in registry.handled] == [1, 2, 3]
    assert registry.handled[0][1] is context


def test_a_registry_that_raises_raises_and_stays_mirrored(bus, events):
    registry = Registry()
    Mirror(bus.publish, "gateway").hooks(registry)
    for _ in range(2):
        with pytest.raises(KeyError, match="original"):
            registry.emit("bad:one")
    registry.emit("not a topic")
    assert [event["type"] for event in events] == ["gateway.bad.one"] * 2


def test_an_event_that_a_handler_dispatches_is_another_event(bus, events):
    registry = Registry()
    inner = {"inner": 1}

    def handler(self, event, context=None):
        if context is not inner:
            registry.emit(event, inner)

    registry.emit = functools.partial(handler, registry)
    Mirror(bus.publish, "gateway").hooks(registry, methods=["emit"])
    registry.emit("agent:step", {"outer": 1})
    assert [event.get("inner") for event in events] == [None, 1]


def test_a_dispatch_by_a_task_that_outlives_its_dispatch_is_another_event(bus, events):
    async def main():
        tasks = []
        registry = Registry()

        async def later(event, context):
            await asyncio.sleep(0)
            registry.emit(event, context)

        def emit(event, context=None):
            if not tasks:
                tasks.append(asyncio.create_task(later(event, context)))

        registry.emit = emit
        Mirror(bus.publish, "gateway").hooks(registry, methods=["emit"])
        registry.emit("a", None)
        await tasks[0]

    asyncio.run(main())
    assert [event["type"] for event in events] == ["gateway.a"] * 2


def test_mirroring_hooks_can_be_undone(bus, events):
    registry = Registry()
    undo = Mirror(bus.publish, "gateway").hooks(registry)
    undo()
    registry.emit("a")
    assert events == []
    assert "emit" not in vars(registry)


def test_a_registry_without_a_dispatching_method_is_an_error(bus):
    with pytest.raises(AttributeError, match="name them"):
        Mirror(bus.publish, "gateway").hooks(object())


def relay(**more):
    return orjson.dumps({"_bus_relay": True, "topic": "gateway.x", "envelope": {"a": 1}, **more})


def event(**params):
    return orjson.dumps({"jsonrpc": "2.0", "method": "event", "params": {"type": "tool.start", **params}})


def test_a_relayed_event_keeps_its_topic_and_its_stamps(bus, events):
    mirror = Mirror(bus.publish, "tui")
    stamps = []
    bus.subscribe("gateway.x", lambda each: stamps.append((each["type"], each["ts"], each["src"])))
    assert mirror.feed(relay(envelope={"type": "own", "ts": 5.5, "src": "gw-eu", "a": 1}))
    assert stamps == [("own", 5.5, "gw-eu")]
    assert mirror.feed(relay(topic="cron.tick").decode())
    assert [each["type"] for each in events] == ["own", "cron.tick"]
    assert mirror.stats() == {"relay": 2}


def test_invalid_stamps_of_a_relayed_event_are_replaced(bus, events):
    Mirror(bus.publish, "tui").feed(relay(envelope={"type": 1, "ts": "x", "src": [], "a": 1}))
    assert events == [{"type": "gateway.x", "src": "gateway", "a": 1}]


def test_a_json_rpc_event_is_flattened_below_the_prefix(bus, events):
    mirror = Mirror(bus.publish, "tui")
    assert mirror.feed(event(session_id="s1", payload={"name": "grep", "type": "t", "session_id": "forged"}))
    assert mirror.feed(event(payload="text"))
    assert events == [
        {
            "type": "tui.tool.start",
            "src": "tui",
            "session_id": "s1",
            "name": "grep",
            "type_": "t",
            "session_id_": "forged",
        },
        {"type": "tui.tool.start", "src": "tui"},
    ]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "no_json"), (b"{", "no_json"), ("\ud800", "no_json"), (b"\xff", "no_json"), (None, "no_json"),
        (b"[" * 100_000, "no_json"), (b"[]", "unknown"), (b"{}", "unknown"), (b"1", "unknown"),
        (b'{"method": "event"}', "unknown"), (b'{"method": "event", "params": {}}', "no_type"),
        (event(type=""), "no_type"), (event(type=7), "no_type"), (event(type="a b"), "bad_topic"),
        (relay(topic=""), "bad_topic"), (relay(topic="a..b"), "bad_topic"), (relay(topic=3), "bad_relay"),
        (relay(envelope=[]), "bad_relay"), (relay(_bus_relay=1), "bad_relay"), (relay(topic="fabric.link.up"), "failed"),
        (b" " * (MAX_FRAME + 1), "too_large"),
    ],
)  # fmt: skip
def test_an_invalid_frame_is_counted_and_never_raises(bus, events, frame, why):
    mirror = Mirror(bus.publish, "tui")
    assert mirror.feed(frame) is False
    assert list(mirror.stats()) == [why if why == "failed" else f"ignored_{why}"]
    assert events == []


def test_relayed_topics_can_be_limited(bus, events):
    mirror = Mirror(bus.publish, "tui", accept=["gateway.**"])
    assert mirror.feed(relay())
    assert not mirror.feed(relay(topic="cron.tick"))
    assert mirror.stats() == {"relay": 1, "ignored_not_accepted": 1}


def test_a_subscriber_that_fails_does_not_affect_feed(bus):
    bus.subscribe("**", lambda _: 1 / 0)
    mirror = Mirror(bus.publish, "tui")
    assert mirror.feed(relay())
    assert mirror.feed(event())


def test_an_invalid_prefix_or_pattern_is_an_error_when_the_mirror_is_made(bus):
    with pytest.raises(ValueError):
        Mirror(bus.publish, "a b")
    with pytest.raises(ValueError):
        Mirror(bus.publish, "tui", accept=["a..b"])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["_bus_relay", "topic", "envelope", "method", "params", "type", "payload"])


@given(st.dictionaries(KEYS, st.just("event") | st.just(True) | JSON | st.dictionaries(KEYS, JSON)) | JSON, st.binary())
def test_every_frame_is_decoded(value, data):
    assert read_frame(orjson.dumps(value), "tui").kind
    assert read_frame(data, "tui").kind
