import os
import re

import pytest

from fabric.testing import wait_until
from tests.processes import has_ended


def parts_of(command):
    """The pids of its two other processes, from its output."""
    command.wait_for("Ctrl-C ends all three.")
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", command.out)]


def all_ended(pids):
    return all(has_ended(pid) for pid in pids)


def test_it_shows_this_machine_and_ends_with_what_to_try_next(start, url):
    command = start("demo", "--interval", "0.1", "--url", url)
    command.wait_until(
        lambda: len(re.findall(r"^\d\d:\d\d:\d\d\.\d{3}  machine\.cpu +machine +\+", command.out, re.M)) >= 3,
        what="the processor is measured",
    )
    command.wait_for("  machine.busiest ")
    assert command.interrupt() == 0
    assert re.search(r"\n\d+ events in \d+ s, \d+ of them alerts raised\.\n", command.out)
    assert command.lines[-1].startswith(f"Try next: fabric tap --url {url} ")
    assert command.err == ""
    assert all_ended(parts_of(command))


def test_it_ends_by_itself_after_the_seconds_that_are_given(start, url):
    command = start("demo", "--seconds", "0.3", "--url", url)
    assert command.end() == 0
    assert re.search(r"\n\d+ events in \d+ s, \d+ of them alerts raised\.\n", command.out)
    assert all_ended(parts_of(command))


def test_ctrl_c_at_a_terminal_ends_all_three_in_order(start, url):
    command = start("demo", "--interval", "0.1", "--url", url, terminal=True)
    pids = parts_of(command)
    command.wait_for("machine.busiest")
    assert command.interrupt() == 0
    assert all_ended(pids)
    assert "Try next: " in command.out
    assert "Traceback" not in command.out


def test_if_the_foreground_is_killed_the_others_end_too(start, url):
    command = start("demo", "--interval", "0.1", "--url", url)
    pids = parts_of(command)
    command.wait_for("machine.cpu")
    command.process.kill()
    wait_until(lambda: all_ended(pids), what="the parts of the demo end")


def test_if_a_part_ends_by_itself_that_is_said_and_the_rest_ends(start, url):
    command = start("demo", "--interval", "0.1", "--url", url)
    pids = parts_of(command)
    command.wait_for("machine.cpu")
    os.kill(pids[0], 9)
    assert command.end() == 1
    assert "fabric: the process 'machine' ended by itself" in command.err
    assert all_ended(pids)


def test_head_ends_it_quietly(start, url):
    command = start("demo", "--interval", "0.1", "--url", url)
    pids = parts_of(command)
    command.close_stdout()
    assert command.end() == 0
    assert command.err == ""
    assert all_ended(pids)


@pytest.fixture
def alarm(start, url, node):
    command = start("demo", "--part", "alarm", "--url", url)
    wait_until(lambda: node.has_interest("machine.cpu"))
    return command


def test_alerts_are_raised_and_cleared_by_a_process_of_their_own(alarm, node):
    with node.events("alert.**", timeout=20) as alerts:
        alerts.subscription.wait_ready(everyone=True)
        for busy in (100, 5, 5, 5, 5, 90, 4):
            node.publish("machine.cpu", {"busy": float(busy), "switches": 7, "busiest": "make"})
        raised, cleared = next(alerts), next(alerts)
    assert (raised["type"], raised["src"], raised["what"]) == ("alert.raised", "alarm", "cpu")
    assert (raised["says"], raised["busiest"]) == ("90.0 %, 5.0 is usual here", "make")
    assert (cleared["type"], cleared["what"]) == ("alert.cleared", "cpu")
    alarm.process.stdin.close()
    assert alarm.end() == 0
