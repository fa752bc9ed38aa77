"""`fabric topics`, at a proxy of its own."""

import orjson
import pytest

from cli.main import run
from fabric.bus.bus import Bus
from fabric.node.connect import connect
from fabric.testing import ProxyProcess
from tests.cli.fabrics import wait_for_report

#: Topic, events, and the size of a payload: the most events are not the most bytes, nor the latest.
PASSED = (("order.many", 30, 1), ("order.large", 3, 5_000), ("other.late", 10, 1), ("a", 20, 1))


@pytest.fixture(scope="module")
def passed(runtime_dir):
    """The address of a proxy that has passed `PASSED` on, and not one event without a subscriber."""
    with ProxyProcess() as proxy:
        with (
            connect("writer", url=proxy.url, bus=Bus()) as writer,
            connect("reader", url=proxy.url, bus=Bus()) as reader,
        ):
            for pattern in ("order.*", "other.*", "a"):
                reader.subscribe(pattern, lambda event: None).wait_ready(10, everyone=True)
            passed = 0
            for topic, count, size in PASSED:
                for _ in range(count):
                    writer.publish(topic, {"text": "x" * size})
                passed += count
                # One after another, so that each was seen later than the one before.
                wait_for_report(proxy.url, lambda stats, passed=passed: stats.plane.events == passed)
            writer.publish("nobody.wants.this")
        yield proxy.url


@pytest.fixture
def shown(passed, capfd):
    """A function that runs `fabric topics`: its lines."""

    def run_it(*options):
        assert run(["topics", *options, "--url", passed]) == 0
        printed = capfd.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return run_it


def names(lines):
    return [line.split()[0] for line in lines[1:]]


def test_topics_are_listed_with_what_passed_of_them(shown):
    lines = shown()
    assert lines[0].split() == ["TOPIC", "COUNT", "/S", "BYTES", "BYTES/S", "AGE"]
    assert {line.split()[0]: line.split()[1] for line in lines[1:]} == {topic: str(count) for topic, count, _ in PASSED}


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("count", ["order.many", "a", "other.late", "order.large"]),
        ("name", ["a", "order.large", "order.many", "other.late"]),
        ("last", ["a", "other.late", "order.large", "order.many"]),
    ],
)
def test_they_can_be_sorted(order, first, shown):
    assert names(shown("--sort", order)) == first


def test_the_largest_can_be_first(shown):
    assert names(shown("--sort", "bytes"))[0] == "order.large"


def test_a_pattern_chooses(shown):
    assert names(shown("order.*", "--sort", "name")) == ["order.large", "order.many"]
    assert shown("no.such") == ["none of the 4 topics matches no.such"]


def test_a_long_list_is_cut_and_says_so(shown):
    assert shown("--limit", "1")[2:] == ["… and 3 more: fabric topics --limit 0"]
    assert shown("--limit", "1", "--sort", "name")[2:] == ["… and 3 more: fabric topics --limit 0"]
    assert shown("order.*", "--limit", "1", "--sort", "name")[2:] == ["… and 1 more: fabric topics 'order.*' --limit 0"]
    assert len(shown("--limit", "0")) == 5


def test_as_json_each_is_a_line(shown):
    rows = [orjson.loads(line) for line in shown("--json", "--sort", "count")]
    assert [(row["topic"], row["events"], row["estimated"]) for row in rows][:2] == [
        ("order.many", 30, False),
        ("a", 20, False),
    ]
    assert set(rows[0]) == {"topic", "events", "bytes", "rate", "byte_rate", "last", "estimated"}


def test_where_nothing_has_passed_that_is_said(fabric_proxy, capfd):
    assert run(["topics", "--url", fabric_proxy.url]) == 0
    assert capfd.readouterr().out.startswith("nothing has passed yet that somebody subscribed to")


def test_without_a_proxy_it_ends_with_3(lonely_url, capfd):
    assert run(["topics", "--url", lonely_url]) == 3
    assert capfd.readouterr().err == f"fabric: no proxy is running at {lonely_url}\n"


def test_a_pattern_that_is_none_is_wrong_usage(capfd):
    assert run(["topics", "a..b"]) == 2
    assert "a..b" in capfd.readouterr().err
