"""`fabric check`, as a health check runs it: one line and a code, whatever is at the address."""

import re
import signal
import socket
import subprocess
import sys

import orjson
import pytest

from cli.main import run
from fabric.config.address import parse_address
from fabric.testing import ProxyProcess
from proxy.events.plane import EventPlane
from proxy.stats import ProxyStats
from tests.cli.fabrics import TIMEOUT, directory, full_backlog, lose, record, router, wait_for_report

#: A short timeout, for tests in which no answer comes.
SHORT = ("--timeout", "0.5")
#: Longer, for tests in which one plane answers and the other does not.
LONGER = ("--timeout", "3")


@pytest.fixture
def check(capfd):
    """A function that runs `fabric check`: exit code, and its line."""

    def run_it(url, *options):
        capfd.readouterr()  # drop the log of nodes of this process
        code = run(["check", *options, *(("--url", url) if url else ())])
        printed = capfd.readouterr()
        assert printed.err == ""
        assert printed.out.count("\n") == 1
        return code, printed.out.rstrip("\n")

    return run_it


def test_a_proxy_that_lives_has_proved_both_planes(start, fabric_proxy):
    found = start("check", "--url", fabric_proxy.url, "--timeout", "10")
    assert (found.end(), found.err) == (0, "")
    assert found.out.startswith(f"ok: {fabric_proxy.url} answers (events ")
    assert found.out.endswith(", 0 nodes, 0 lost\n")
    assert record(fabric_proxy.url).nodes == 0


def test_it_finds_the_proxy_as_every_command_does(check, fabric_proxy, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", fabric_proxy.url)
    code, line = check(None, "--format", "json", "--timeout", "10")
    facts = orjson.loads(line)
    assert (code, facts["ok"], facts["url"], facts["pid"]) == (0, True, fabric_proxy.url, fabric_proxy.pid)
    assert facts["events"] > 0 < facts["messages"]


def test_more_losses_than_permitted_are_unhealthy(check, fabric_node):
    with ProxyProcess(timeout=TIMEOUT) as proxy, fabric_node("careless", url=proxy.url) as node:
        lose(node, 3)
        wait_for_report(proxy.url, lambda stats: stats.lost == 3)
        assert check(proxy.url, "--timeout", "10", "--max-lost", "3")[0] == 0
        code, line = check(proxy.url, "--timeout", "10", "--max-lost", "2")
        assert code == 1
        assert line == f"unhealthy: {proxy.url} answers, but 3 events were lost since its start, more than 2"
        code, line = check(proxy.url, "--timeout", "10", "--max-lost", "0", "--format", "nagios")
        assert (code, line.partition(" - ")[0]) == (1, "FABRIC WARNING")


# No proxy


def test_where_nothing_listens_it_is_down(check, lonely_url, fabric_proxy):
    assert check(lonely_url) == (3, f"down: no proxy is running at {lonely_url}")
    fabric_proxy.kill()  # its socket files stay
    assert check(fabric_proxy.url) == (3, f"down: no proxy is running at {fabric_proxy.url}")
    code, line = check(fabric_proxy.url, "--format", "nagios")
    assert code == 2
    assert line.startswith("FABRIC CRITICAL - no proxy is running at ")


def test_a_host_that_drops_all_packets_is_down(check):
    with full_backlog() as url:
        code, line = check(url, *SHORT)
    assert code == 3
    assert re.fullmatch(rf"down: cannot reach {url}: it takes no connection within 0\.\d s", line)


#: The command on a machine whose resolver hangs, and nothing in Python can end that.
_HANGS = """
import socket, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
from cli.main import main
main()
"""


def test_a_name_that_is_looked_up_forever_is_down():
    command = [sys.executable, "-P", "-c", _HANGS, "check", "--url", "tcp://proxy.example:7400", *SHORT]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert re.match(r"down: cannot reach tcp://proxy\.example:7400: no connection within \d\.\d s", done.stdout)


# Something that does not answer


def test_a_proxy_that_is_stopped_is_unhealthy(start, fabric_proxy):
    fabric_proxy.signal(signal.SIGSTOP)
    for options, code in (((), 1), (("--format", "nagios"), 2)):
        found = start("check", "--url", fabric_proxy.url, *SHORT, *options)
        assert (found.end(), found.err) == (code, "")
        assert f"something listens at {fabric_proxy.url}, but neither plane answered within " in found.out


def test_a_socket_whose_queue_is_full_is_unhealthy(check):
    with full_backlog(socket.AF_UNIX) as url:
        assert check(url) == (1, f"unhealthy: something listens at {url}, but it takes no more connections")


def test_another_program_is_unhealthy(check):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, line = check(f"tcp://127.0.0.1:{other.getsockname()[1]}", *SHORT)
    assert code == 1
    assert line.endswith("it is stopped or stuck, or it is no proxy")


def test_a_zeromq_program_that_talks_nonsense_is_unhealthy(check):
    with router(lambda frames: [b"junk"]) as url:
        assert check(url, *SHORT)[0] == 1


def test_a_proxy_whose_event_plane_is_dead_is_unhealthy_although_it_answers_messages(check):
    healthy = ProxyStats(pid=1, host="h", url="ipc:///x", boot="b", version="1").as_json()

    def answer(frames):
        return [b"PONG", frames[1], b"0"] if frames[0] == b"PING" else [b"RECORD", frames[1], orjson.dumps(healthy)]

    with router(answer) as url:
        code, line = check(url, *LONGER)
    assert code == 1
    assert f"something listens at {url}, but no event came through within " in line
    assert line.endswith("; messages are answered")


def test_a_proxy_whose_message_plane_is_dead_is_unhealthy_although_events_pass(check):
    with directory() as path, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{path}/messages")
        silent.listen()
        events = EventPlane(
            parse_address(f"ipc://{path}"), boot=b"12345678", settle=0.0, max_bytes=1_000, peer_bytes=1_000
        )
        events.start()
        try:
            code, line = check(f"ipc://{path}", *LONGER)
        finally:
            events.stop()
    assert code == 1
    assert line.endswith("; events come through")


def test_wrong_settings_are_wrong_usage_and_unknown_to_nagios(check, capfd):
    assert run(["check", "--url", "nonsense"]) == 2
    assert "fabric: url (from argument)" in capfd.readouterr().err
    code, line = check("nonsense", "--format", "nagios")
    assert code == 3
    assert line.startswith("FABRIC UNKNOWN - url (from argument)")


def test_a_reader_that_has_gone_does_not_change_the_code(fabric_proxy):
    script = f'{sys.executable} -P -m cli.main check --timeout 10 --url "$1" > /dev/full'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", fabric_proxy.url], cwd="/", capture_output=True, check=False)
    assert done.returncode == 0


def test_it_imports_little_for_it_runs_every_few_seconds():
    program = "import sys, cli.main, cli.commands.operating.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd="/", capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cli.commands.operating.check" in loaded
    assert not loaded & {
        "asyncio",
        "subprocess",
        "tempfile",
        "tomllib",
        "proxy.server",
        "proxy.messages.hooks",
        "cli.join",
    }
