"""Log records as events: topics, payloads, selection; and that a handler neither raises nor feeds itself."""

import asyncio
import json
import logging
import logging.config
import re
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest

import fabric
from fabric import Bus, Capture, LogEvents, logging_handler
from fabric.protocol.topics import check_topic
from fabric.testing import await_until, wait_until
from fabric.testing.memory import InMemoryFabric

DOCS = Path(__file__).parents[2] / "docs"


def logger(name):
    """A logger of the test."""
    return logging.Logger(name)  # noqa: LOG001 - getLogger's outlive the test


@pytest.fixture
def bus():
    return Bus(source="app")


@pytest.fixture
def handler(bus):
    return logging_handler(bus=bus)


@pytest.fixture
def log(handler):
    made = logger("app.db")
    made.addHandler(handler)
    return made


def topic_of(bus, handler, name, level=logging.INFO):
    """The topic of a record of the logger `name`."""
    captured = Capture(bus, "log.**")
    handler.handle(logging.LogRecord(name, level, "file.py", 1, "text", (), None))
    captured.cancel()
    return captured.topics[0]


# Topics


def test_the_topic_is_level_and_logger(bus, log):
    captured = Capture(bus, "**")
    log.warning("careful")
    assert captured.topics == ["log.warning.app.db"]


@pytest.mark.parametrize("pattern", ["log.**", "log.error.**", "log.*.app.**", "log.*.app.db.**", "log.error.app.db"])
def test_patterns_choose_by_level_and_by_logger(bus, log, pattern):
    captured = Capture(bus, pattern)
    log.error("bad")
    assert len(captured) == 1


@pytest.mark.parametrize("pattern", ["log.info.**", "log.*.web.**", "log.error.app"])
def test_patterns_leave_out_other_levels_and_loggers(bus, log, pattern):
    captured = Capture(bus, pattern)
    log.error("bad")
    assert len(captured) == 0


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("root", "log.info.root"),
        ("a b.c*d", "log.info.a_b.c_d"),
        ("a..b", "log.info.a._.b"),
        ("", "log.info._"),
        (".", "log.info._._"),
        ("tab\there", "log.info.tab_here"),
        ("bidi\u202e.\udc80", "log.info.bidi_._"),
        ("grüß.gott", "log.info.grüß.gott"),
        ("__main__", "log.info.__main__"),
    ],
)
def test_every_name_of_a_logger_makes_a_topic(bus, handler, name, topic):
    assert topic_of(bus, handler, name) == topic


@pytest.mark.parametrize("name", ["x" * 1_000, "x." * 500, "ü" * 500, "x" * 245 + "." * 50])
def test_a_long_name_is_cut_to_the_length_of_a_topic(bus, handler, name):
    topic = topic_of(bus, handler, name)
    assert check_topic(topic)
    assert topic.startswith("log.info.")


@pytest.mark.parametrize(("level", "word"), [(10, "debug"), (50, "critical"), (25, "level-25"), (0, "notset")])
def test_every_level_has_a_word(bus, handler, level, word):
    assert topic_of(bus, handler, "a", level) == f"log.{word}.a"


def test_a_custom_level_has_its_name(bus, handler):
    logging.addLevelName(21, "Very *Odd. Level")
    try:
        assert topic_of(bus, handler, "a", 21) == "log.very-_odd--level.a"
    finally:
        del logging._levelToName[21], logging._nameToLevel["Very *Odd. Level"]


def test_the_topic_can_have_another_prefix(bus):
    captured = Capture(bus, "my.logs.**")
    logging_handler(bus=bus, topic="my.logs").handle(logging.makeLogRecord({"name": "a", "levelname": "INFO"}))
    assert captured.topics == ["my.logs.info.a"]


@pytest.mark.parametrize("topic", ["", "fabric", "fabric.log", "a.*", "a b", "x" * 200])
def test_an_invalid_topic_is_an_error(bus, topic):
    with pytest.raises(ValueError, match="topic"):
        logging_handler(bus=bus, topic=topic)


# Payload


def test_the_payload_has_message_logger_and_location(bus, log):
    captured = Capture(bus, "log.**")
    log.warning("lost %s", "it", extra={"order": 7})
    event = captured[0]
    assert {key: event[key] for key in ("message", "level", "levelno", "logger", "src", "extra")} == {
        "message": "lost it",
        "level": "WARNING",
        "levelno": 30,
        "logger": "app.db",
        "src": "app",
        "extra": {"order": 7},
    }
    assert event["file"] == __file__
    assert event["function"] == "test_the_payload_has_message_logger_and_location"
    assert event["thread"] == threading.current_thread().name
    assert event["thread_id"] == threading.get_ident()
    assert event["line"] > 0
    assert "exception" not in event


def test_ts_is_the_time_of_the_record(bus, handler):
    captured = Capture(bus, "log.**")
    record = logging.makeLogRecord({"name": "a", "created": 12.5})
    handler.handle(record)
    assert captured[0]["ts"] == 12.5


def test_an_exception_is_in_the_payload_as_text(bus, log):
    captured = Capture(bus, "log.**")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    assert captured[0]["exception"].startswith("Traceback")
    assert captured[0]["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_long_message_and_a_long_exception_keep_both_ends(bus, log):
    captured = Capture(bus, "log.**")
    try:
        raise ValueError("x" * 100_000 + " the end")
    except ValueError:
        log.exception("start %s stop", "y" * 100_000)
    event = captured[0]
    for text, start, end in (
        (event["exception"], "Traceback", "the end"),
        (event["message"], "start", "stop"),
    ):
        assert text.startswith(start)
        assert text.endswith(end)
        assert "characters …" in text
        assert len(text) < 20_000


def test_a_stack_is_in_the_payload_if_asked_for(bus, log):
    captured = Capture(bus, "log.**")
    log.info("here", stack_info=True)
    assert captured[0]["stack"].startswith("Stack")


def test_extras_that_are_no_json_become_text(bus, log):
    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no")

    cyclic = []
    cyclic.append(cyclic)
    captured = Capture(bus, "log.**")
    extra = {
        "a": {1, 2},
        "b": b"bytes",
        "c": float("nan"),
        "d": 2**70,
        "e": Unprintable(),
        "f": "\udc80",
        "g": {1: [None, True, 1.5, {"deep": [[[[1]]]]}]},
        "h": "x" * 5_000,
        "i": list(range(1_000)),
        "j": cyclic,
        "k": ValueError("v"),
    }
    log.info("odd", extra=extra)
    got = json.loads(orjson.dumps(captured[0]))["extra"]
    assert (got["a"], got["b"], got["c"], got["d"]) == ([1, 2], "b'bytes'", "nan", str(2**70))
    assert (got["e"], got["f"], got["k"]) == ("<Unprintable without a repr>", "\\udc80", "ValueError('v')")
    assert got["g"]["1"][:3] == [None, True, 1.5]
    assert (len(got["h"]) < 1_200, len(got["i"])) == (True, 50)


def test_the_number_of_extras_is_bounded(bus, log):
    captured = Capture(bus, "log.**")
    log.info("many", extra={f"k{n}": n for n in range(1_000)})
    assert len(captured[0]["extra"]) == 50


def test_half_surrogates_in_a_message_cross_the_wire():
    with InMemoryFabric() as memory:
        app, there = memory.node("app"), memory.node("there")
        captured = there.capture("log.**")
        logging_handler(node=app).handle(logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": "a\udc80b"}))
        assert captured.wait(1)[0]["message"] == "a\\udc80b"


def test_a_formatter_makes_the_message(bus, handler, log):
    handler.setFormatter(logging.Formatter("%(levelname)s:%(message)s"))
    captured = Capture(bus, "log.**")
    log.info("hi")
    assert captured[0]["message"] == "INFO:hi"


# Which records


def test_records_below_the_level_are_not_published(bus):
    log = logger("a")
    log.addHandler(logging_handler("WARNING", bus=bus))
    captured = Capture(bus, "log.**")
    log.info("no")
    log.error("yes")
    assert captured.topics == ["log.error.a"]


def test_an_unknown_level_is_an_error(bus):
    with pytest.raises(ValueError, match="LOUD"):
        logging_handler("LOUD", bus=bus)


def test_a_filter_is_applied(bus, handler, log):
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    captured = Capture(bus, "log.**")
    log.info("a secret")
    log.info("open")
    assert [event["message"] for event in captured] == ["open"]


@pytest.mark.parametrize("name", ["fabric", "fabric.link"])
def test_the_fabrics_own_records_are_not_published(bus, handler, name):
    captured = Capture(bus, "log.**")
    handler.handle(logging.makeLogRecord({"name": name}))
    assert (len(captured), handler.dropped) == (0, 0)


def test_a_logger_whose_name_only_begins_with_fabric_is_published(bus, handler):
    assert topic_of(bus, handler, "fabricated") == "log.info.fabricated"


def test_a_record_without_subscribers_is_not_formatted(handler, log):
    class Costly:
        def __str__(self):
            raise AssertionError("formatted")

    log.info("%s", Costly())
    assert handler.dropped == 0


def test_a_record_that_only_another_node_subscribes_to_is_published():
    with InMemoryFabric() as memory:
        app, there = memory.node("app"), memory.node("there")
        captured = there.capture("log.error.**")
        log = logger("app")
        log.addHandler(logging_handler(node=app))
        log.info("not this: %d", "it would not format")
        log.error("this")
        captured.wait(1)
        assert (captured.topics, app.stats()["sent"], log.handlers[0].dropped) == (["log.error.app"], 1, 0)


# Where to


def test_by_default_records_go_to_the_default_bus():
    assert logging_handler().bus is fabric.default_bus


def test_a_bus_and_a_node_together_are_an_error(bus):
    with InMemoryFabric() as memory, pytest.raises(TypeError, match="not both"):
        logging_handler(bus=bus, node=memory.node("a"))


def test_a_handler_can_be_configured_from_a_dict():
    bus = fabric.default_bus
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"events": {"()": "fabric.logging_handler", "level": "ERROR"}},
        "loggers": {"configured": {"handlers": ["events"]}},
    }
    logging.config.dictConfig(config)
    try:
        with Capture(bus, "log.**") as captured:
            logging.getLogger("configured").error("yes")
        assert captured.topics == ["log.error.configured"]
    finally:
        logging.getLogger("configured").handlers.clear()


# Never feeding itself


def test_records_of_a_callback_of_log_events_are_not_published(bus, handler, log):
    seen = []

    def receive(event):
        seen.append(event["message"])
        log.info("I heard %s", event["message"])

    bus.subscribe("log.**", receive)
    log.info("one")
    log.info("two")
    assert (seen, handler.suppressed) == (["one", "two"], 2)


def test_a_callback_for_other_events_may_log(bus, log):
    captured = Capture(bus, "log.**")
    bus.subscribe("orders", lambda event: log.info("an order"))
    bus.publish("orders")
    assert len(captured) == 1


def test_records_of_an_async_callback_of_log_events_are_not_published(bus, handler, log):
    async def main():
        seen = []

        async def receive(event):
            seen.append(event["message"])
            await asyncio.sleep(0)
            log.info("I heard %s", event["message"])

        bus.subscribe("log.**", receive)
        log.info("here")
        await asyncio.to_thread(log.info, "there")
        await await_until(lambda: handler.suppressed == 2)
        return seen

    assert sorted(asyncio.run(main())) == ["here", "there"]


def test_other_tasks_of_a_loop_that_was_woken_by_a_record_may_log(bus, handler, log):
    async def main():
        captured = Capture(bus, "log.**")

        async def work(event):
            await asyncio.sleep(0)
            log.info("working")

        async def receive(event):
            pass

        bus.subscribe("log.**", receive)
        bus.subscribe("work", work)

        def both():
            log.info("waking")
            bus.publish("work")

        await asyncio.to_thread(both)
        await await_until(lambda: len(captured) == 2)
        return [event["message"] for event in captured]

    assert asyncio.run(main()) == ["waking", "working"]


def test_two_processes_that_log_received_log_events_make_no_cycle():
    with InMemoryFabric() as memory:
        counts = []
        handlers = []
        for name in ("a", "b"):
            node, log = memory.node(name), logger(f"app.{name}")
            handlers.append(logging_handler(node=node))
            log.addHandler(handlers[-1])

            def receive(event, log=log):
                counts.append(event["message"])
                log.info("heard %s", event["message"])

            node.subscribe("log.**", receive).wait_ready(everyone=True)
        handlers[0].handle(logging.makeLogRecord({"name": "first", "levelname": "INFO", "msg": "once"}))
        wait_until(lambda: sum(handler.suppressed for handler in handlers) == 2)
        assert counts == ["once", "once"]


def test_a_repr_that_logs_does_not_recurse(bus, handler, log):
    class Chatty:
        def __repr__(self):
            log.info("asked for my repr")
            return "chatty"

    captured = Capture(bus, "log.**")
    log.info("x", extra={"who": Chatty()})
    assert captured[0]["extra"]["who"] == "chatty"
    assert (len(captured), handler.suppressed) == (1, 1)


# Never raising


def test_a_message_that_does_not_format_is_counted_and_not_printed(bus, handler, log, capsys):
    Capture(bus, "log.**")
    log.info("%d", "no number")
    assert handler.dropped == 1
    assert capsys.readouterr().err == ""


def test_a_bus_that_fails_is_counted(handler, log):
    class Broken(Bus):
        def publish(self, topic, payload=None):
            raise RuntimeError("broken")

    handler.bus = Broken()
    handler.bus.subscribe("log.**", print)
    log.info("x")
    assert handler.dropped == 1


def test_records_of_a_closed_handler_are_counted_as_dropped(bus, handler, log):
    captured = Capture(bus, "log.**")
    handler.close()
    log.info("late")
    assert (len(captured), handler.dropped) == (0, 1)


def test_records_after_the_node_was_closed_are_local():
    with InMemoryFabric() as memory:
        node = memory.node("app")
        captured = node.capture("log.**")
        log = logger("app")
        log.addHandler(logging_handler(node=node))
        node.close()
        log.info("late")
        assert len(captured) == 1


def test_a_callback_may_wait_for_a_thread_that_logs(bus, log):
    # The handler's lock is not held meanwhile, or both would wait for ever.
    def receive(event):
        if event["message"] == "outer":
            other = threading.Thread(target=log.info, args=("inner",))
            other.start()
            other.join(20)
            assert not other.is_alive()

    bus.subscribe("log.**", receive)
    captured = Capture(bus, "log.**")
    log.info("outer")
    assert [event["message"] for event in captured] == ["inner", "outer"]


def test_many_threads_may_log(bus, handler, log):
    captured = Capture(bus, "log.**")
    threads = [threading.Thread(target=lambda n=n: [log.info("%d %d", n, m) for m in range(100)]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(captured), handler.dropped, handler.suppressed) == (600, 0, 0)


def test_logging_while_the_interpreter_ends_is_harmless():
    program = """
import atexit, logging, fabric, threading
logging.getLogger().addHandler(fabric.logging_handler())
fabric.subscribe("log.**", lambda event: None)
class Late:
    def __del__(self): logging.getLogger("late").error("gone %s", self)
late = Late()
late.me = late
atexit.register(logging.getLogger("exit").error, "at exit")
logging.getLogger().error("now")
print("done")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_the_repr_names_topic_and_level(bus):
    assert repr(LogEvents("INFO", bus=bus)) == "<LogEvents log.** from INFO>"


def test_the_programs_of_the_documentation_run():
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "logging.md").read_text(), re.MULTILINE | re.DOTALL)
    program = "\n".join(blocks) + "\nlogging.getLogger().handlers.clear()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "app.db lost the connection\n", "")
