"""The proxy as a service: ready, alive, hanging, stopping, as reported to the service manager."""

import ast
import contextlib
import sys
import threading
from pathlib import Path

import pytest

from fabric.config.address import parse_address
from fabric.testing import wait_until
from proxy.health.self_check import SelfCheck
from tests.deploy.frozen import RUNNER, Frozen


def test_it_is_ready_when_both_planes_have_answered(manager):
    process = manager.proxy(settle=0.3)
    manager.wait_for("READY=1")
    with contextlib.closing(SelfCheck(parse_address(f"ipc://{manager.directory}/proxy"))) as self_check:
        assert self_check.check(10.0).good
    assert manager.stop(process)[0] == 0


def test_while_events_in_is_not_bound_it_is_not_ready(manager):
    process = manager.proxy(settle=60.0)
    with contextlib.closing(SelfCheck(parse_address(f"ipc://{manager.directory}/proxy"))) as self_check:
        wait_until(lambda: self_check.check(0.1).messages is not None)
        for _ in range(5):
            assert self_check.check(0.1).events is None
    status, _ = manager.stop(process)
    assert (status, manager.heard) == (0, ["STOPPING=1"])


def test_it_reports_signs_of_life_repeatedly(manager):
    manager.proxy(watchdog=0.3)
    wait_until(lambda: manager.heard.count("WATCHDOG=1") >= 5)
    assert manager.heard.count("READY=1") == 1


def test_its_status_is_reported_before_it_is_ready_and_when_it_changes(manager, fabric_node):
    manager.proxy()
    ready = manager.wait_for("READY=1")
    url = f"ipc://{manager.directory}/proxy"
    assert manager.heard[: ready - 1] == [f"STATUS={url}: nodes 0, endpoints 0"]
    fabric_node(url=url).endpoint("adder", lambda message: None).wait_ready()
    manager.wait_for(f"STATUS={url}: nodes 1, endpoints 1", ready)


def test_it_reports_that_it_stops_and_exits_0(manager):
    process = manager.proxy()
    ready = manager.wait_for("READY=1")
    status, text = manager.stop(process)
    manager.wait_for("STOPPING=1", ready)
    assert status == 0
    assert text.rstrip().endswith("ended: SIGTERM")


def test_under_load_it_reports_signs_of_life_and_exits_0(manager, fabric_node):
    process = manager.proxy()
    ready = manager.wait_for("READY=1")
    url, stop = f"ipc://{manager.directory}/proxy", threading.Event()
    node, other = fabric_node(url=url), fabric_node(url=url)
    other.subscribe("load", lambda event: None).wait_ready(everyone=True)

    def pour():
        while not stop.is_set():
            node.publish("load", {"text": "x" * 200})

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        for _ in range(5):
            ready = manager.wait_for("WATCHDOG=1", ready)
        status, _ = manager.stop(process)
    finally:
        stop.set()
        thread.join()
    assert status == 0
    for each in (node, other):
        each.close(0.0)


def test_in_the_background_it_does_not_report_for_its_starter(manager):
    process = manager.proxy("env", "FABRIC_IDLE_EXIT=0.1")
    manager.wait_for("READY=1")
    manager.stop(process)
    before = len(manager.heard)
    command = [sys.executable, "-P", "-m", "proxy", "--background", "--idle-exit", "0.1"]
    background = manager.start(*command, "--url", f"ipc://{manager.directory}/other")
    text, _ = background.communicate(timeout=20)  # its log is a file, so this waits for the starter only
    assert (background.returncode, text) == (0, "")
    log = Path(manager.directory) / "other" / "proxy.log"
    wait_until(lambda: "ended" in log.read_text())
    assert manager.heard[before:] == []


def test_programs_that_it_starts_cannot_report_for_it(manager, fabric_node, tmp_path):
    hook, told = tmp_path / "hook", tmp_path / "told"
    hook.write_text(f'#!/bin/sh\nenv > "{told}.new"\nmv "{told}.new" "{told}"\n')
    hook.chmod(0o700)
    manager.proxy(FABRIC_HOOKS=str(hook))
    manager.wait_for("READY=1")
    node = fabric_node(url=f"ipc://{manager.directory}/proxy")
    node.endpoint("here", lambda message: None).wait_ready()
    node.send("here", {"text": "hi"}).wait()
    wait_until(told.exists)
    names = {line.partition("=")[0] for line in told.read_text().splitlines()}
    assert "FABRIC_ID" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


@pytest.mark.skipif(sys.platform != "linux", reason="freezing one thread takes Linux' ptrace")
@pytest.mark.parametrize(
    ("thread", "complaint"),
    [("fabric-events", "the event plane does not answer"), ("fabric-messages", "the message plane does not answer")],
)
def test_while_a_plane_hangs_there_is_no_sign_of_life(manager, thread, complaint):
    process = manager.start(sys.executable, "-P", "-c", RUNNER, f"ipc://{manager.directory}/proxy", watchdog=1.0)
    threads = ast.literal_eval(next(line for line in process.stdout if line.startswith("{")))
    ready = manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1", ready)
    try:
        frozen = Frozen(threads[thread])
    except PermissionError as error:
        pytest.skip(f"ptrace is forbidden here: {error}")
    try:
        hung = manager.wait_for(f"STATUS={complaint}", len(manager.heard))
        # The main loop works and continues to check; it reports no sign of life.
        with contextlib.closing(SelfCheck(parse_address(f"ipc://{manager.directory}/proxy"))) as self_check:
            for _ in range(3):
                assert not self_check.check(0.2).good
    finally:
        frozen.thaw()
    well = manager.wait_for("STATUS=ipc", hung)
    manager.wait_for("WATCHDOG=1", well)
    assert "WATCHDOG=1" not in manager.heard[hung : well - 1]
    status, text = manager.stop(process)
    assert status == 0
    assert f"WARNING {complaint}" in text
    assert "both planes answer again" in text
