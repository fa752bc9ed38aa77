"""Real proxies started, stopped and restarted in the background."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fabric.config.address import default_url, parse_address
from fabric.errors import ProxyError
from fabric.testing import wait_until
from proxy import client, daemon
from proxy.settings import ProxySettings
from tests.ports import free_port
from tests.processes import has_ended, stop


@pytest.fixture
def settings(runtime_dir):
    """A function that makes settings for a proxy at an address of the test's own, which is stopped after the test."""
    with tempfile.TemporaryDirectory(prefix="fabric-tests-") as directory:
        used = set()

        def make(url="", **more):
            made = ProxySettings(url=url or f"ipc://{directory}/p", settle=0.0, **more)
            used.add(made.address())
            return made

        yield make
        for address in used:
            daemon.stop(address)


def free_url():
    return f"tcp://127.0.0.1:{free_port()}"


def test_a_started_proxy_serves_in_a_session_of_its_own_and_logs_into_its_directory(settings, fabric_node):
    wanted = settings()
    started = daemon.start(wanted)
    pid = started.status.stats.pid
    assert started.fresh
    assert pid != os.getpid()
    assert os.getsid(pid) not in (os.getsid(0), pid)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    log = wanted.address().directory / "proxy.log"
    assert (os.readlink(f"/proc/{pid}/fd/2"), started.status.stats.log) == (str(log), str(log))
    assert f"listening on {wanted.url}" in log.read_text()
    assert fabric_node("app", url=wanted.url).state == "up"


def test_it_inherits_no_descriptor_of_ours(settings, tmp_path):
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        pid = daemon.start(settings()).status.stats.pid
        assert str(tmp_path / "mine") not in {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}


def test_starting_where_a_proxy_runs_finds_that_one(settings):
    first = daemon.start(settings())
    second = daemon.start(settings())
    assert (second.fresh, second.status.stats.boot) == (False, first.status.stats.boot)


@pytest.mark.parametrize("url", ["", "tcp"])
def test_of_several_starts_at_once_one_wins_and_all_find_it(url, settings):
    wanted = settings(free_url() if url else "")
    found = []
    threads = [threading.Thread(target=lambda: found.append(daemon.start(wanted))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert len({each.status.stats.pid for each in found}) == 1
    assert sum(each.fresh for each in found) == 1


def test_stopping_returns_when_it_has_ended_and_only_its_log_and_lock_are_left(settings):
    address = settings().address()
    pid = daemon.start(settings()).status.stats.pid
    assert daemon.stop(address).stats.pid == pid
    wait_until(lambda: has_ended(pid))
    assert {path.name for path in address.directory.iterdir()} == {"proxy.log", "proxy.lock"}
    assert daemon.stop(address) is None


def test_one_can_be_started_as_soon_as_the_other_was_stopped(settings):
    boots = set()
    for _ in range(3):
        started = daemon.start(settings())
        assert started.fresh
        boots.add(started.status.stats.boot)
        daemon.stop(settings().address())
    assert len(boots) == 3


def test_the_settings_arrive_with_any_environment(settings, monkeypatch, tmp_path):
    (tmp_path / "fabric.toml").write_text("[proxy]\nmax_bytes = 1\n")
    monkeypatch.setenv("FABRIC_HOOKS", "/nonexistent")
    monkeypatch.setenv("FABRIC_CONFIG", "fabric.toml")
    monkeypatch.chdir(tmp_path)
    started = daemon.start(settings(hooks=(("/bin/true", "a b"),)))
    assert started.status.stats.programs == ("/bin/true",)


def test_a_start_that_fails_says_why(settings, tmp_path):
    (tmp_path / "f").write_text("")
    wanted = settings(log_file=str(tmp_path / "log"), hooks=((str(tmp_path / "f"),),))
    with pytest.raises(daemon.StartFailed, match="ended at once") as caught:
        daemon.start(wanted)
    assert "is not executable" in caught.value.lines[-1]


def test_only_lines_logged_by_this_start_are_shown(settings, tmp_path):
    (tmp_path / "log").write_text("old\n" * 100)
    with pytest.raises(daemon.StartFailed) as caught:
        daemon.start(settings(log_file=str(tmp_path / "log"), hooks=(("/nonexistent",),)))
    assert not any("old" in line for line in caught.value.lines)


def test_a_log_that_cannot_be_written_is_an_error(settings, tmp_path):
    with pytest.raises(ProxyError, match=f"cannot write the log {tmp_path}/no/log: No such file"):
        daemon.start(settings(log_file=f"{tmp_path}/no/log"))


def test_a_directory_that_is_open_to_others_is_refused(settings):
    settings().address().directory.mkdir(mode=0o755)
    with pytest.raises(ProxyError, match="is open to others"):
        daemon.start(settings())


def test_a_tcp_proxy_logs_in_the_directory_of_the_embedded_default(settings):
    wanted = settings(free_url())
    started = daemon.start(wanted)
    directory = parse_address(default_url()).directory
    assert started.status.stats.log == f"{directory}/proxy-127-0-0-1-{wanted.address().port}.log"
    daemon.stop(wanted.address())
    with pytest.raises(client.NotRunning):
        client.status(wanted.address())


def test_a_proxy_that_does_not_answer_is_neither_started_again_nor_signalled(settings):
    pid = daemon.start(settings()).status.stats.pid
    stop(pid)
    try:
        with pytest.raises(client.NotAnswering):
            daemon.start(settings(), answer_timeout=0.2)
        with pytest.raises(client.NotAnswering):
            daemon.stop(settings().address(), answer_timeout=0.2)
        assert daemon.lock_says(settings().address()) == f"pid {pid} on {socket.gethostname()}"
        assert not has_ended(pid)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_pid_in_the_lock_file_is_never_signalled(settings):
    """The pid of a proxy that has ended may be that of another process by now."""
    directory = settings().address().directory
    directory.mkdir(mode=0o700)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for text in ("garbage", f"pid {bystander.pid} on {socket.gethostname()}\n"):
            (directory / "proxy.lock").write_text(text)
            assert daemon.stop(settings().address()) is None
        assert daemon.start(settings()).fresh
        daemon.stop(settings().address())
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


def test_after_a_kill_the_next_one_starts(settings):
    pid = daemon.start(settings()).status.stats.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid))
    assert daemon.start(settings()).fresh
