"""`fabric proxy start | stop | status | restart`: what is said, and how it ends."""

import os
import signal
import socket
import tempfile

import orjson
import pytest

from cli.commands.operating.daemon import described
from cli.main import run
from proxy import client, daemon
from proxy.stats import ProxyStats
from tests.processes import stop


@pytest.fixture
def address():
    with tempfile.TemporaryDirectory(prefix="fabric-tests-") as directory:
        url = f"ipc://{directory}/p"
        yield url
        run(["proxy", "stop", "--url", url])


@pytest.fixture
def fabric(address, capfd):
    """A function that runs `fabric proxy …` at `address`: exit code, stdout, stderr."""

    def run_it(*arguments):
        code = run(["proxy", *arguments, "--url", address])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run_it


def status(address):
    from fabric.config.address import parse_address

    return client.status(parse_address(address)).stats.as_json()


def test_the_life_of_a_proxy_in_the_background(fabric, address, fabric_node):
    assert fabric("status") == (3, "", f"fabric: no proxy is running at {address}\n")
    assert fabric("stop") == (0, f"no proxy is running at {address}\n", "")

    code, out, err = fabric("start", "--settle", "0")
    who = f"pid {status(address)['pid']} on {socket.gethostname()}"
    assert (code, err) == (0, "")
    assert out == f"started a proxy at {address} ({who}); its log is {address[6:]}/proxy.log\n"
    assert fabric("start") == (0, f"a proxy is running already at {address} ({who})\n", "")

    with fabric_node("app", url=address) as node:
        session = node.endpoint("worker").session
        code, out, _ = fabric("status")
        assert code == 0
        for text in (
            f"up at {address}",
            f"pid       {who[4:]}",
            "version   ",
            "uptime    0s",
            "nodes 1, endpoints 1",
            "worker",
            session,
        ):
            assert text in out
        found = orjson.loads(fabric("status", "--json")[1])
        assert (found["state"], found["listing"]["endpoints"][0]["session"], found["nodes"]) == ("up", session, 1)

        boot = status(address)["boot"]
        code, out, _ = fabric("restart", "--settle", "0", "--hook", "/bin/true")
        assert (code, out.splitlines()[0]) == (0, f"stopped the proxy at {address} ({who})")
        assert status(address)["boot"] != boot
        assert "hooks     /bin/true: done 0" in fabric("status")[1]

    assert fabric("stop")[0] == 0
    assert fabric("status")[0] == 3


def test_options_before_the_command_count_too(address, capfd):
    assert run(["proxy", "--url", address, "status"]) == 3
    assert address in capfd.readouterr().err


def test_one_that_does_not_answer_is_up_but_unhealthy(fabric, address):
    fabric("start", "--settle", "0")
    pid = status(address)["pid"]
    stop(pid)
    try:
        code, out, err = fabric("status", "--timeout", "0.2")
        assert (code, out) == (1, "")
        assert f"-- its lock was taken by pid {pid} on {socket.gethostname()}\n" in err
        assert f"fabric: something listens at {address}, but did not answer within 0.2 s" in err
        code, out, _ = fabric("status", "--timeout", "0.2", "--json")
        assert (code, orjson.loads(out)["state"]) == (1, "not answering")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_that_cannot_be_reached_is_told_apart_from_one_that_does_not_run(capfd):
    assert run(["proxy", "status", "--url", "tcp://nobody.invalid:7400", "--json"]) == 3
    printed = capfd.readouterr()
    assert orjson.loads(printed.out)["state"] == "not reachable"
    assert "fabric: cannot reach tcp://nobody.invalid:7400: there is no host 'nobody.invalid'" in printed.err


def test_a_start_that_fails_shows_the_last_lines_of_the_log_and_ends_with_1(address, monkeypatch, capfd):
    def fail(settings):
        raise daemon.StartFailed("the proxy that was started ended at once; see /x", ["ERROR   no\x1b[2J room"])

    monkeypatch.setattr(daemon, "start", fail)
    assert run(["proxy", "start", "--url", address]) == 1
    assert (
        capfd.readouterr().err
        == "  ERROR   no\\u001b[2J room\nfabric: the proxy that was started ended at once; see /x\n"
    )


@pytest.mark.parametrize("command", ["run", "start", "restart"])
def test_a_hook_that_cannot_run_is_wrong_usage_and_nothing_is_stopped_for_it(command, fabric, address):
    fabric("start", "--settle", "0")
    boot = status(address)["boot"]
    code, _, err = fabric(command, "--hook", "/nonexistent")
    assert code == 2
    assert err == "fabric: hooks (from argument): hook 1: there is no file /nonexistent\n"
    assert status(address)["boot"] == boot


def test_a_hook_that_cannot_run_keeps_nobody_from_looking_or_stopping(fabric, monkeypatch):
    monkeypatch.setenv("FABRIC_HOOKS", "/nonexistent")
    assert fabric("status")[0] == 3
    assert fabric("stop")[0] == 0


def test_run_is_the_same_as_the_bare_command(start, address):
    running = start("proxy", "run", "--url", address)
    running.wait_for("listening on", "err")
    assert running.terminate() == 0


@pytest.mark.parametrize("command", ["run", "start", "stop", "status", "restart"])
def test_each_has_help_with_examples(command, capfd):
    assert run(["proxy", command, "--help"]) == 0
    assert capfd.readouterr().out.count(f"\n    fabric proxy {command}") >= 2


def test_what_a_proxy_says_of_itself_is_shown_harmlessly():
    nasty = "\x1b[2J\n"
    stats = ProxyStats(
        1, nasty, nasty, nasty, nasty, log=nasty, messages={nasty: 1}, hooks={nasty: 2}, programs=(nasty,)
    )
    found = client.Status(stats, [{"endpoint": nasty}, {}], [], True)
    assert all(line.isprintable() for line in described(found, 0.0))
