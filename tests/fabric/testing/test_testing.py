"""The pytest plugin, as used by test suites of applications."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from fabric import testing
from fabric.testing import ProxyProcess, await_until, wait_until

DOCS = Path(__file__).parents[3] / "docs"


def test_wait_until_returns_the_value_of_the_condition():
    values = iter([0, "", None, "there"])
    assert wait_until(lambda: next(values)) == "there"


def test_the_error_of_wait_until_describes_the_condition():
    with pytest.raises(AssertionError, match=r"still \[\] after 0\.01 s: the events arrive"):
        wait_until(list, 0.01, "the events arrive")


def test_wait_until_checks_at_least_once():
    assert wait_until(lambda: True, 0.0)


def test_the_loop_runs_during_await_until():
    async def main():
        done = []
        asyncio.get_running_loop().call_soon(done.append, 1)
        return await await_until(lambda: done)

    assert asyncio.run(main()) == [1]


def test_the_error_of_await_until_describes_the_condition():
    async def main():
        await await_until(list, 0.01, "nothing comes")

    with pytest.raises(AssertionError, match="nothing comes"):
        asyncio.run(main())


def test_the_example_of_the_docstring(fabric_memory):
    watcher, gateway = fabric_memory.node("watcher"), fabric_memory.node("gateway")
    started = watcher.capture("gateway.started")
    gateway.publish("gateway.started", {"port": 8080})
    assert started.wait(1)[0]["port"] == 8080


def test_nodes_in_memory_are_closed_after_the_test(fabric_memory):
    fabric_memory.node("me").endpoint("inbox", print)  # a thread that is left would fail this test at its end


def test_every_public_fixture_and_function_has_a_docstring():
    for name in testing.__all__:
        assert getattr(testing, name).__doc__, name


def test_the_tests_of_the_documentation_pass(pytester_free_run):
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "testing.md").read_text(), re.MULTILINE | re.DOTALL)
    count = sum(block.count("def test_") for block in blocks)
    assert count > 5
    assert f"{count} passed" in pytester_free_run("\n\n".join(blocks))


def test_the_bus_of_a_test_is_empty(fabric_bus):
    assert len(fabric_bus) == 0


def test_a_node_is_ready_when_it_is_made(fabric_node):
    assert fabric_node().state == "up"


def test_each_node_has_a_bus_of_its_own(fabric_node):
    assert fabric_node().bus is not fabric_node().bus


def test_settings_reach_the_node(fabric_node):
    assert fabric_node("me", outbox_events=7).settings.outbox_events == 7


def test_a_proxy_can_be_killed_and_restarted(fabric_proxy):
    first = fabric_proxy.pid
    fabric_proxy.kill()
    assert not fabric_proxy.running
    fabric_proxy.restart(settle=0.0)
    assert fabric_proxy.running
    assert fabric_proxy.pid != first
    assert fabric_proxy.log.count("listening on") == 2


def test_stop_returns_the_exit_status(fabric_proxy):
    assert fabric_proxy.stop() == 0


def test_a_proxy_that_hangs_can_be_stopped(fabric_proxy):
    fabric_proxy.signal(signal.SIGSTOP)
    assert fabric_proxy.stop() == 0


def test_settings_reach_the_proxy():
    with ProxyProcess("tcp://0.0.0.0:17400", insecure=True) as proxy:
        assert "open to everybody" in proxy.log


def test_the_error_of_a_proxy_that_cannot_start_has_its_log():
    proxy = ProxyProcess("tcp://0.0.0.0:17400")
    try:
        with pytest.raises(RuntimeError, match="--insecure"):
            proxy.start()
    finally:
        proxy.close()


def test_a_closed_proxy_leaves_no_directory():
    with ProxyProcess() as proxy:
        directory = proxy.directory
        assert directory.exists()
    assert not directory.exists()


def test_using_a_proxy_that_is_not_running_is_an_error():
    proxy = ProxyProcess()
    try:
        with pytest.raises(RuntimeError, match="not running"):
            proxy.signal(signal.SIGTERM)
        with pytest.raises(RuntimeError, match="not running"):
            proxy.stop()
    finally:
        proxy.close()


def test_another_test_suite_finds_the_fixtures(pytester_free_run):
    assert "1 passed" in pytester_free_run(
        """
        def test_mine(fabric_node):
            node = fabric_node("mine")
            seen = []
            node.subscribe("a", seen.append)
            node.publish("a")
            assert len(seen) == 1
        """
    )


@pytest.fixture
def pytester_free_run(tmp_path):
    """A function that runs pytest on some code in an unrelated directory, and returns its output."""
    import subprocess
    import sys
    import textwrap

    def run(code):
        (tmp_path / "test_mine.py").write_text(textwrap.dedent(code))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
        return result.stdout + result.stderr

    return run
