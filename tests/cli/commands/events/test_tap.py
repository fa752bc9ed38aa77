import json
import re
import subprocess

import pytest

from cli.main import run
from fabric.testing import ProxyProcess, wait_until
from tests.cli.running import FABRIC, wait_for_rest

#: The escape sequences of our own colours and tables.
OURS = re.compile(r"\x1b\[(\d+(;\d+)*m|H|K|J|\?1049[hl])")


def test_an_event_is_a_line_of_time_topic_src_delay_and_payload(tap, node, root):
    command = tap("--count", "1")
    node.publish(f"{root}.created", {"id": 7})
    assert command.end() == 0
    (line,) = command.lines
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{3}} +{root}\.created +tester +\+\d+(\.\d)?ms +{{\"id\":7}}", line)
    assert command.err == ""


def test_json_is_the_envelope_as_the_publisher_made_it(tap, node, root):
    command = tap("--json", "--count", "1")
    node.publish(f"{root}.x", {"id": 7, "ts": 12.5, "src": "relay", "text": "ü\x1b"})
    assert command.end() == 0
    assert json.loads(command.out) == {"type": f"{root}.x", "ts": 12.5, "src": "relay", "id": 7, "text": "ü\x1b"}
    assert "\x1b" not in command.out


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--topics-only"], "{root}.a\n{root}.b\n{root}.c"),
        (["--field", "job.state"], "done\n[1]"),
        (["--format", "{{n}}|{{topic}}|{{payload.job.state}}"], "1|{root}.a|\n2|{root}.b|done\n3|{root}.c|[1]"),
        (
            ["--format", "{{payload}}", "--truncate", "7"],
            '{{}}\n{{"job":… (+17 characters)\n{{"job":… (+14 characters)',
        ),
        (["--topics-only", "--ignore", "**.a", "--ignore", "*.c"], "{root}.b"),
    ],
)
def test_other_ways_to_show_an_event(options, shown, tap, node, root):
    command = tap(*(option.format(root=root) for option in options))
    expected = shown.format(root=root)
    for name, payload in (("a", {}), ("b", {"job": {"state": "done"}}), ("c", {"job": {"state": [1]}})):
        node.publish(f"{root}.{name}", payload)
    command.wait_until(lambda: len(command.lines) >= len(expected.splitlines()))
    assert command.out == f"{expected}\n"


def test_the_topic_is_the_one_it_was_published_on_whatever_the_payload_says(tap, node, root):
    command = tap("--topics-only", "--count", "1")
    node.publish(f"{root}.x", {"type": "click"})
    assert command.end() == 0
    assert command.out == f"{root}.x\n"


def test_several_patterns_show_each_event_once(tap, node, root):
    command = tap("--topics-only", "--count", "2", patterns=[f"{root}.**", f"{root}.x", f"*.{root}"])
    node.publish(f"{root}.x")
    node.publish(f"other.{root}")
    assert command.end() == 0
    assert command.out == f"{root}.x\nother.{root}\n"


def test_without_a_pattern_it_is_everything_but_the_systems_own(start, url, node, root, fabric_node):
    command = start("tap", "--url", url, "--topics-only")
    wait_until(lambda: node.has_interest("any.thing"))
    fabric_node("newcomer", url=url)  # joins, which is an event of the system
    node.publish(f"{root}.x")
    command.wait_for(f"{root}.x\n")
    assert "fabric." not in command.out


def test_its_own_link_is_shown_if_the_systems_topics_are_asked_for(start, url):
    command = start("tap", "fabric.**", "--url", url, "--topics-only")
    command.wait_for("fabric.link.up\n")


def test_it_ends_after_so_much_silence_or_time(tap, node, root):
    by_silence, by_time = tap("--wait", "0.3"), tap("--timeout", "0.5")
    node.publish(f"{root}.x")
    assert (by_silence.end(), by_time.end()) == (0, 0)


def test_too_few_events_in_time_are_a_5(tap, node, root):
    command = tap("--count", "2", "--timeout", "2")
    node.publish(f"{root}.x")
    assert command.end() == 5
    assert command.err == "fabric: 1 of 2 events came within 2 s\n"
    assert len(command.lines) == 1


def test_a_table_is_written_at_the_end(tap, node, root):
    command = tap("--stats", "--count", "3")
    for name in ("a", "b", "b"):
        node.publish(f"{root}.{name}")
    assert command.end() == 0
    rows = [line.split()[:2] for line in command.lines]
    assert rows == [["TOPIC", "COUNT"], [f"{root}.b", "2"], [f"{root}.a", "1"], ["2", "topics"]]


def test_a_table_can_be_json(tap, node, root):
    command = tap("--stats", "--json", "--count", "1")
    node.publish(f"{root}.a")
    assert command.end() == 0
    assert json.loads(command.out)["topic"] == f"{root}.a"


@pytest.mark.parametrize(
    "options",
    [["--json", "--field", "a"], ["--stats", "--topics-only"], ["--format", "{nothing}"], ["--format", "{topic"],
     ["--json", "--truncate", "5"], ["--count", "0"], ["--timeout", "0"], ["--wait", "soon"]],
)  # fmt: skip
def test_options_that_make_no_sense_are_wrong_usage(options, capfd):
    assert run(["tap", *options]) == 2
    assert "Error: " in capfd.readouterr().err


# Its reader


def test_head_ends_it_quietly_even_if_nothing_more_comes(url, node, root):
    script = '"$@" | head -1; echo "${PIPESTATUS[@]}"'
    command = ["bash", "-c", script, "bash", *FABRIC, "tap", f"{root}.**", "--url", url, "--topics-only"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", text=True) as shell:
        wait_until(lambda: node.has_interest(f"{root}.x"))
        node.publish(f"{root}.x")
        assert shell.communicate(timeout=20) == (f"{root}.x\n0 0\n", "")


def test_a_slow_reader_loses_events_here_which_are_counted_and_reported(tap, node, root):
    count = 30_000
    command = tap("--field", "n")
    for n in range(count):
        node.publish(f"{root}.x", {"n": n})
    wait_until(lambda: node.stats()["waiting"] == 0)
    wait_for_rest(command.pid)
    node.publish(f"{root}.last", {"n": "last"})
    command.wait_for("last\n")
    assert command.terminate() == 143
    dropped = sum(int(found.replace(",", "")) for found in re.findall(r"-- dropped ([\d,]+) events", command.err))
    missed = sum(int(found.replace(",", "")) for found in re.findall(r"-- missed ([\d,]+) events", command.err))
    shown = [int(line) for line in command.lines[:-1]]
    assert dropped > 0
    assert len(shown) + dropped + missed == count
    assert shown == sorted(shown)


def test_a_gap_is_reported(tap, forger, root):
    command = tap("--topics-only")
    forger.wait_for_subscriber(f"{root}.".encode())
    # Holes count as gaps one second after subscribing.
    number = 1
    while "missed" not in command.err:
        forger.publish(f"{root}.x", number, {"src": "forger"})
        number += 4
        command.read(0.1)
    assert re.search(rf"-- missed \d+ events of {root}\.x from forger", command.err)


def test_a_lost_link_is_reported_and_survived(start, fabric_node):
    with ProxyProcess() as proxy:
        node = fabric_node("other", url=proxy.url)
        command = start("tap", "--url", proxy.url, "--topics-only")
        wait_until(lambda: node.has_interest("a.b"))
        node.publish("a.b")
        command.wait_for("a.b\n")
        proxy.kill()
        command.wait_for("was lost; waiting for it to come back", "err")
        proxy.start()
        command.wait_for("is back", "err")
        node.wait_ready()
        node.publish("a.c")
        command.wait_for("a.c\n")
        node.close()


def test_sigterm_ends_it_cleanly(tap, node, root):
    command = tap()
    node.publish(f"{root}.x")
    command.wait_for(f"{root}.x")
    assert command.terminate() == 143
    assert command.err == ""


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--count", "5"], 130)])
def test_ctrl_c_is_the_ordinary_end_unless_there_was_another_one(options, status, tap, node, root):
    command = tap(*options)
    node.publish(f"{root}.x")
    command.wait_for(f"{root}.x")
    assert command.interrupt() == status
    assert command.err == ""


# At a terminal


def test_at_a_terminal_it_says_when_it_taps_and_uses_colour(tap, node, root, url):
    command = tap(terminal=True)
    command.wait_for(f"-- tapping {root}.** at {url}; Ctrl-C ends\r\n")
    node.publish(f"{root}.x", {"id": 7})
    command.wait_for('{"id":7}')
    assert re.search(rf"\x1b\[\d+m{root}\.x", command.out)
    assert command.interrupt() == 0
    assert "Traceback" not in command.out


def test_without_colour_where_the_environment_forbids_it(tap, node, root):
    command = tap("--count", "1", terminal=True, env={"NO_COLOR": "1"})
    node.publish(f"{root}.x")
    assert command.end() == 0
    assert "\x1b" not in command.out


@pytest.mark.parametrize(
    "option", [[], ["--json"], ["--field", "bad"], ["--format", "{src} {type} {payload} {payload.bad}"]]
)
def test_nothing_that_was_published_acts_on_the_terminal(option, tap, forger, root):
    bad = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt\u2066\x7f\r\n\x00"
    command = tap("--count", "1", *option, terminal=True)
    forger.wait_for_subscriber(f"{root}.".encode())
    forger.publish(f"{root}.x", 1, {"src": bad, "type": bad, bad: bad, "bad": bad})
    assert command.end() == 0
    shown = OURS.sub("", command.out).replace("\r\n", "")
    assert "owned" in shown
    assert shown.isprintable()


def test_long_payloads_are_cut_at_a_terminal_and_that_is_said(tap, node, root):
    command = tap("--count", "1", terminal=True)
    node.publish(f"{root}.x", {"text": "x" * 100_000})
    assert command.end() == 0
    assert "… (+96,011 characters)" in command.out


def test_a_table_is_redrawn_at_a_terminal_and_stays_at_the_end(tap, node, root):
    command = tap("--stats", terminal=True)
    for n in (1, 2, 3):
        node.publish(f"{root}.x")
        command.wait_for(f"{root}.x".ljust(20) + f" {n:>10}")
    assert command.interrupt() == 0
    before, _, after = command.out.partition("\x1b[?1049l")
    assert before.count("\x1b[H") >= 3
    assert "\x1b[?1049h" in before
    assert f"{root}.x" in after
    assert not OURS.search(after)


def test_patterns_that_the_shell_made_file_names_of_are_noticed(start, url):
    command = start("tap", "bin", "etc", "--url", url, "--timeout", "0.1", terminal=True)
    assert command.end() == 0
    assert "quote wildcards: fabric tap '**'" in command.out


def test_it_can_begin_with_what_came_last(start, fabric_node):
    with ProxyProcess(retain="state.**") as proxy:
        node = fabric_node("tester", url=proxy.url)
        node.publish("state.a", {"n": 1})
        node.publish("state.b", {"n": 2})
        wait_until(lambda: len(node.last("**")) == 2)
        command = start("tap", "state.**", "state.a", "--url", proxy.url, "--last", "--json", "--count", "3")
        command.wait_until(lambda: len(command.lines) >= 2)
        node.publish("state.a", {"n": 3})
        assert command.end() == 0
        events = [json.loads(line) for line in command.lines]
        assert [(each["n"], each.get("replayed", False)) for each in events] == [(1, True), (2, True), (3, False)]


def test_beginning_with_what_came_last_at_a_proxy_that_keeps_nothing_is_a_tap(tap, node, root):
    command = tap("--last", "--topics-only", "--count", "1")
    node.publish(f"{root}.x")
    assert command.end() == 0
    assert command.out == f"{root}.x\n"
