"""The embedded default: a proxy in the background, started by the first process that needs one."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import fabric
from fabric.config.address import parse_address
from fabric.errors import ProxyError
from fabric.system.autostart import answers, ensure_proxy, private_directory
from fabric.testing import wait_until


def background_proxies(directory):
    """Process ids of the proxies in the background that serve `directory`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"proxy" in words and any(word.startswith(f"ipc://{directory}".encode()) for word in words):
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def default(monkeypatch):
    """The embedded default in a directory of its own; its proxies are ended after the test."""
    directory = Path(tempfile.mkdtemp(prefix="fabric-"))
    monkeypatch.setenv("FABRIC_RUNTIME_DIR", str(directory))
    yield directory / "fabric"
    for pid in background_proxies(directory):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not background_proxies(directory))
    assert [path.name for path in (directory / "fabric").glob("*") if path.is_socket()] == []
    shutil.rmtree(directory)


def test_connect_starts_a_proxy_if_none_answers(default):
    with fabric.connect(bus=fabric.Bus()) as node:
        node.wait_ready(15)
        assert node.url == f"ipc://{default}"
    wait_until(lambda: len(background_proxies(default)) == 1)


def test_connect_uses_the_proxy_that_answers(default):
    address = parse_address(f"ipc://{default}")
    assert ensure_proxy(address)
    assert not ensure_proxy(address)
    with fabric.connect(bus=fabric.Bus()) as node:
        node.wait_ready(15)
    assert len(background_proxies(default)) == 1


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_autostart_can_be_turned_off(default, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("FABRIC_AUTOSTART", "0")
    with (
        fabric.connect(bus=fabric.Bus(), autostart=False if how == "argument" else None) as node,
        pytest.raises(fabric.NotReady),
    ):
        node.wait_ready(0.3)
    assert background_proxies(default) == []


def test_at_a_named_address_no_proxy_is_started(default):
    with fabric.connect(url=f"ipc://{default}", bus=fabric.Bus()) as node, pytest.raises(fabric.NotReady):
        node.wait_ready(0.3)
    assert background_proxies(default) == []


def test_twenty_processes_that_start_at_once_end_with_one_proxy(default):
    program = (
        "import sys, fabric\n"
        "node = fabric.connect(bus=fabric.Bus())\n"
        "node.wait_ready(30)\n"
        "print(node.stats()['boot'])\n"
        "node.close()\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(20)
    ]
    ended = [process.communicate(timeout=50) for process in running]
    assert [(process.returncode, errors) for process, (_, errors) in zip(running, ended, strict=True)] == [
        (0, b"")
    ] * 20
    assert len({boot for boot, _ in ended}) == 1
    assert len(background_proxies(default)) == 1


def test_a_proxy_in_the_background_is_no_child_and_has_its_own_session_and_directory(default):
    ensure_proxy(parse_address(f"ipc://{default}"))
    [pid] = background_proxies(default)
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[1]) != os.getpid()
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_a_proxy_in_the_background_inherits_none_of_our_descriptors(default):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        ensure_proxy(parse_address(f"ipc://{default}"))
        [pid] = background_proxies(default)
        ours = os.readlink(f"/proc/self/fd/{write}")
        inherited = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert ours not in inherited
    finally:
        os.close(read)
        os.close(write)


def test_a_proxy_in_the_background_logs_into_its_directory(default):
    ensure_proxy(parse_address(f"ipc://{default}"))
    log = default / "proxy.log"
    wait_until(lambda: "listening on" in log.read_text())
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_proxy_py_in_the_working_directory_is_never_run(default, tmp_path, monkeypatch):
    (tmp_path / "proxy.py").write_text("raise SystemExit('this is not the one')")
    monkeypatch.chdir(tmp_path)
    assert ensure_proxy(parse_address(f"ipc://{default}"))


def test_a_directory_that_is_a_link_is_an_error_that_says_so(default):
    default.parent.mkdir(exist_ok=True)
    default.symlink_to("/tmp")
    try:
        with pytest.raises(ProxyError, match="a link"):
            ensure_proxy(parse_address(f"ipc://{default}"))
    finally:
        default.unlink()


def test_a_node_that_cannot_start_a_proxy_warns_and_goes_on(default, caplog):
    default.mkdir(mode=0o755)
    with fabric.connect(bus=fabric.Bus()) as node:
        wait_until(lambda: "open to others" in caplog.text)
        node.publish("a")
        node.close(0.0)


# Directories


def test_a_private_directory_is_made_with_mode_0700(tmp_path):
    private_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_private_directory_may_exist_already(tmp_path):
    private_directory(tmp_path / "a")
    private_directory(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_open_to_others_is_refused_and_says_how_to_mend_it(tmp_path, mode):
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ProxyError, match="chmod 700"):
        private_directory(directory)


def test_a_link_to_a_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ProxyError, match="a link"):
        private_directory(tmp_path / "link")


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProxyError):
        private_directory(tmp_path / "file")


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ProxyError, match="belongs to user"):
        private_directory(tmp_path)


def test_nothing_answers_where_no_process_listens(lonely_url):
    assert not answers(parse_address(lonely_url))
    assert not answers(parse_address("tcp://127.0.0.1:1"))


def test_a_proxy_answers(shared_proxy):
    assert answers(parse_address(shared_proxy.url))
