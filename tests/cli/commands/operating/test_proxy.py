"""`fabric proxy`, in the foreground and in the background: its flags, its output and its exit codes."""

import os
import re
import signal
import socket
import tempfile

import orjson
import pytest

from cli.commands.operating import proxy as commands
from cli.main import run
from fabric.config.address import parse_address
from fabric.config.schema import settings_of
from fabric.config.settings import load
from fabric.testing import wait_until
from proxy import client, daemon
from proxy.settings import ProxySettings
from proxy.stats import ProxyStats
from tests.processes import stop


@pytest.fixture
def address():
    """An address of the test's own; a proxy that still runs there is stopped after the test."""
    with tempfile.TemporaryDirectory(prefix="fc-") as directory:
        url = f"ipc://{directory}/f"
        yield url
        run(["proxy", "stop", "--url", url])


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_it_runs_in_the_foreground_serves_and_ends_cleanly(end, start, address, fabric_node):
    proxy = start("proxy", "--url", address, "--settle", "0")
    proxy.wait_for("listening on", "err")
    node = fabric_node("somebody", url=address)
    assert node.state == "up"
    node.close()
    assert getattr(proxy, end)() == 0
    assert re.search(r"INFO +listening on ipc://\S+ \(pid \d+", proxy.err)
    assert re.search(r"INFO +ended: SIG(INT|TERM)$", proxy.err.strip())
    assert proxy.out == ""


def test_a_second_one_at_the_same_address_ends_with_1_and_names_the_first(start, address):
    first = start("proxy", "--url", address)
    first.wait_for("listening on", "err")
    second = start("proxy", "--url", address)
    assert second.end() == 1
    assert f"{address} is held by another proxy (pid {first.pid}" in second.err
    first.terminate()


def test_an_address_that_others_can_reach_is_refused_unless_one_insists(start):
    refused = start("proxy", "--url", "tcp://0.0.0.0:7400")
    assert refused.end() == 1
    assert "--insecure" in refused.err


def test_without_an_address_it_listens_at_the_users_default(start):
    with tempfile.TemporaryDirectory(prefix="fc-") as directory:
        env = {"FABRIC_RUNTIME_DIR": directory}
        proxy = start("proxy", "--settle", "0", env=env)
        proxy.wait_for(f"listening on ipc://{directory}/fabric", "err")
        assert start("pub", "a.b", "--no-autostart", env=env).end() == 0
        proxy.terminate()


@pytest.mark.parametrize(
    "options", [["--url", "nowhere"], ["--settle", "-1"], ["--settle", "soon"], ["--url", "tcp://"], ["bogus"]]
)
def test_wrong_settings_are_wrong_usage(options, capfd):
    assert run(["proxy", *options]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_it_ends_by_itself_after_a_time_without_nodes(start, address, fabric_node):
    proxy = start("proxy", "--url", address, "--settle", "0", "--idle-exit", "0.5")
    proxy.wait_for("listening on", "err")
    fabric_node("visitor", url=address).close()
    assert proxy.end(timeout=20) == 0
    wait_until(lambda: proxy.process.returncode == 0)


#: Another value than the default for each kind of setting.
OTHER = ProxySettings(
    url="tcp://127.0.0.1:7500", insecure=True, max_bytes=1, settle=1e-05, hooks=(("/bin/true", "-a"), ("/bin/false",)),
    log_file="-x y", log_format="json", metrics="127.0.0.1:0", count=False,
)  # fmt: skip


def options_of(*arguments):
    """The options that `fabric proxy` takes these arguments for."""
    return commands.proxy.make_context("proxy", list(arguments)).params


@pytest.mark.parametrize("wanted", [ProxySettings(), OTHER], ids=["defaults", "others"])
def test_every_setting_of_a_proxy_is_a_flag(wanted):
    options = options_of(*wanted.arguments())
    assert options.keys() == {row.name for row in settings_of(ProxySettings)}
    assert None not in [value for name, value in options.items() if name != "hooks"]
    assert load(ProxySettings, "proxy", options) == wanted


@pytest.mark.parametrize("command", [[], ["run"], ["start"], ["restart"]])
def test_every_flag_is_shown_with_what_it_is_for_and_its_default(command, capsys):
    assert run(["proxy", *command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for row in settings_of(ProxySettings):
        assert f"{row.plain_help[1:]}. [default: {row.show(row.default)}]" in shown


def test_a_setting_that_is_not_given_is_left_to_environment_and_file():
    assert set(options_of().values()) == {None}


# In the background


@pytest.fixture
def fabric(address, capfd):
    """A function that runs `fabric proxy …` at `address`: exit code, stdout, stderr."""

    def run_it(*arguments):
        code = run(["proxy", *arguments, "--url", address])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run_it


def status(address):
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


def test_a_proxy_that_cannot_be_reached_is_distinguished_from_one_that_does_not_run(capfd):
    assert run(["proxy", "status", "--url", "tcp://nobody.invalid:7400", "--json"]) == 3
    printed = capfd.readouterr()
    assert orjson.loads(printed.out)["state"] == "not reachable"
    assert "fabric: cannot reach tcp://nobody.invalid:7400: there is no host 'nobody.invalid'" in printed.err


def test_a_start_that_fails_shows_the_last_lines_of_the_log_and_ends_with_1(fabric, address):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = fabric("start", "--metrics", f"127.0.0.1:{port}")
    assert (code, out) == (1, "")
    assert re.fullmatch(
        rf"  \S+ \S+ ERROR   cannot serve metrics at 127.0.0.1:{port}: address already in use\n"
        rf"fabric: the proxy that was started ended at once; see {address[6:]}/proxy.log\n",
        err,
    )


def test_no_line_of_the_log_acts_on_the_terminal(address, capfd):
    def fail(settings):
        raise daemon.StartFailed("the proxy that was started ended at once; see /x", ["ERROR   no\x1b[2J room"])

    with pytest.raises(daemon.StartFailed):
        commands.start_in_background(ProxySettings(url=address), start=fail)
    assert capfd.readouterr().err == "  ERROR   no\\u001b[2J room\n"


@pytest.mark.parametrize("command", ["run", "start", "restart"])
def test_a_hook_that_cannot_run_is_wrong_usage_and_nothing_is_stopped_for_it(command, fabric, address):
    fabric("start", "--settle", "0")
    boot = status(address)["boot"]
    code, _, err = fabric(command, "--hook", "/nonexistent")
    assert code == 2
    assert err == "fabric: hooks (from argument): hook 1: there is no file /nonexistent\n"
    assert status(address)["boot"] == boot


def test_a_hook_that_cannot_run_does_not_keep_status_and_stop_from_working(fabric, monkeypatch):
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


def test_the_facts_of_a_proxy_are_escaped():
    nasty = "\x1b[2J\n"
    stats = ProxyStats(
        1, nasty, nasty, nasty, nasty, log=nasty, messages={nasty: 1}, hooks={nasty: 2}, programs=(nasty,)
    )
    found = client.Status(stats, [{"endpoint": nasty}, {}], [], True)
    assert all(line.isprintable() for line in commands.described(found, 0.0))
