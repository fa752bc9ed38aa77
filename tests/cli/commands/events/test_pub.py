import pytest

from cli.commands.events.pub import close
from cli.exits import FAILED, NO_PROXY, Failure
from cli.main import run
from fabric.testing import ProxyProcess, wait_until


@pytest.fixture
def heard(node, root):
    """The events below `root`, as they come."""
    with node.events(f"{root}.**", limit=1_000_000, timeout=20) as events:
        events.subscription.wait_ready(everyone=True)
        yield events


def test_one_event_published_right_after_start_is_never_lost(start, url, heard, root):
    commands = [start("pub", f"{root}.{n}", f'{{"n": {n}}}', "--url", url) for n in range(5)]
    assert [command.end() for command in commands] == [0] * 5
    assert sorted(next(heard)["n"] for _ in commands) == list(range(5))
    assert all(command.out == command.err == "" for command in commands)


def test_the_payload_is_the_json_or_empty_and_may_set_src(start, url, heard, root):
    assert start("pub", f"{root}.a", "--url", url).end() == 0
    assert next(heard).keys() == {"type", "ts", "src"}
    assert start("pub", f"{root}.b", '{"src": "door", "deep": {"a": [1, null, "ü"]}}', "--url", url).end() == 0
    event = next(heard)
    assert (event["type"], event["src"], event["deep"]) == (f"{root}.b", "door", {"a": [1, None, "ü"]})


def test_a_dash_reads_the_payload_from_stdin(start, url, heard, root):
    command = start("pub", f"{root}.a", "-", "--url", url)
    command.write(b'{\n "id": 7\n}\n')
    command.process.stdin.close()
    assert command.end() == 0
    assert next(heard)["id"] == 7


def test_each_line_is_an_event_as_soon_as_it_is_there(start, url, heard, root):
    command = start("pub", f"{root}.a", "--lines", "--url", url)
    for line, payload in (
        (b'{"id": 7}', {"id": 7}),
        (b"plain text", {"line": "plain text"}),
        (b"", {"line": ""}),
        (b"[1]", {"line": "[1]"}),
        (b"\xff\x1b\r", {"line": "\ufffd\x1b"}),
    ):
        command.write(line + b"\n")
        event = next(heard)
        assert {key: event[key] for key in payload} == payload
    command.write(b"no newline at the end")
    command.process.stdin.close()
    assert next(heard)["line"] == "no newline at the end"
    assert command.end() == 0


def test_more_lines_than_wait_anywhere_all_arrive_in_order(start, url, heard, root, tmp_path):
    count = 20_000
    lines = tmp_path / "lines"
    lines.write_text("\n".join(map(str, range(count))))
    with lines.open() as stdin:
        command = start("pub", f"{root}.a", "--lines", "--url", url, stdin=stdin, env={"FABRIC_OUTBOX_EVENTS": "10500"})
        assert [int(next(heard)["line"]) for _ in range(count)] == list(range(count))
        assert command.end() == 0


def test_it_repeats_at_an_interval(start, url, heard, root):
    command = start("pub", f"{root}.a", "--repeat", "4", "--interval", "0.1", "--url", url)
    assert command.end() == 0
    times = [next(heard)["ts"] for _ in range(4)]
    assert times[3] - times[0] > 0.25
    assert len(heard) == 0


@pytest.mark.parametrize(("end", "status"), [("interrupt", 130), ("terminate", 143)])
def test_what_was_published_before_it_was_cut_short_has_left(end, status, start, url, heard, root):
    command = start("pub", f"{root}.a", "--repeat", "0", "--interval", "0.001", "--url", url)
    next(heard)
    assert getattr(command, end)() == status
    assert command.err.strip() == ""


def test_it_can_wait_for_a_subscriber(start, url, fabric_node, root):
    command = start("pub", f"{root}.a", "--wait-subs", "--url", url)
    late = fabric_node("late", url=url)
    with late.events(f"{root}.*", timeout=20) as events:
        next(events)
    assert command.end() == 0


def test_without_a_subscriber_in_time_it_ends_with_4_and_publishes_nothing(start, url, root):
    command = start("pub", f"{root}.a", "--wait-subs", "--timeout", "0.3", "--url", url)
    assert command.end() == 4
    assert command.err == f"fabric: nobody subscribed to {root}.a within 0.3 s\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [("{x: 1}", "this is no JSON"), ("[1]", "not a list"), ('"a"', "not a string"), ("3", "not a number"),
     ("null", "not null"), ("true", "not a truth value"), ('{"a": ' + "[" * 300 + "]" * 300 + "}", "cannot be sent")],
)  # fmt: skip
def test_a_payload_that_is_no_object_is_wrong_usage_and_explained(text, said, capfd):
    assert run(["pub", "a.b", text]) == 2
    err = capfd.readouterr().err
    assert "'JSON'" in err
    assert said in err


@pytest.mark.parametrize("options", [["{}", "--lines"], ["--lines", "--repeat", "2"], ["--repeat", "-1"]])
def test_options_that_make_no_sense_are_wrong_usage(options, capfd):
    assert run(["pub", "a.b", *options]) == 2
    assert "Error: " in capfd.readouterr().err


def test_an_event_that_is_too_large_is_a_failure(start, url, heard, root):
    command = start("pub", f"{root}.a", "-", "--url", url)
    command.write(b'{"text": "%b"}' % (b"x" * 11_000_000))
    command.process.stdin.close()
    assert command.end() == 1
    assert "fabric: 1 event was not sent: too large, or nested too deeply" in command.err


def test_events_that_cannot_leave_because_the_link_is_lost_are_counted_and_end_with_3(fabric_node):
    with ProxyProcess() as proxy:
        node, other = fabric_node("one", url=proxy.url), fabric_node("other", url=proxy.url)
        with other.events("a.b", timeout=20) as events:
            events.subscription.wait_ready(everyone=True)
            node.publish("a.b")
            next(events)
            proxy.kill()
            wait_until(lambda: node.state != "up")
            for _ in range(2):
                node.publish("a.b")
            with pytest.raises(Failure, match=r"^2 events could not be sent: the link to .* was lost$") as failure:
                close(node, timeout=0.2)
        other.close(timeout=0)
    assert failure.value.code == NO_PROXY


def test_events_that_were_dropped_while_the_link_was_down_are_a_failure(fabric_node):
    with ProxyProcess() as proxy:
        node = fabric_node("one", url=proxy.url, outbox_events=2)
        with fabric_node("other", url=proxy.url) as other:
            other.subscribe("a.b", print).wait_ready(everyone=True)
            proxy.kill()
            wait_until(lambda: node.state != "up")
            for _ in range(5):
                node.publish("a.b")
            proxy.restart()
            node.wait_ready()
            with pytest.raises(Failure, match=r"^3 events dropped: the link to .* was down for too long$") as failure:
                close(node)
    assert failure.value.code == FAILED


def test_at_a_terminal_it_prints_what_it_published_and_whether_there_was_a_subscriber(start, url, heard, root):
    listened = start("pub", f"{root}.a", "--repeat", "2", "--interval", "0", "--url", url, terminal=True)
    alone = start("pub", f"not-{root}.a", "--url", url, terminal=True)
    assert (listened.end(), alone.end()) == (0, 0)
    assert listened.out == f"-- published 2 events on {root}.a\r\n"
    assert alone.out == f"-- published 1 event on not-{root}.a; nobody subscribed to it when this began\r\n"
