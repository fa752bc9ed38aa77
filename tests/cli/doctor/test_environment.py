"""The doctor's checks of settings, the address, its directory, and this process."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from cli.doctor.environment import Place, directory, is_locked, is_stopped, leftovers, limits, settings
from cli.doctor.findings import OK, WRONG
from fabric.config.address import parse_address
from tests.processes import stop


@pytest.fixture
def place():
    """A place whose directory is not there yet, in a directory of the test's own."""
    with tempfile.TemporaryDirectory(prefix="fc-") as path:
        yield Place(parse_address(f"ipc://{path}/fabric"), "from --url", is_default=False, autostart=False)


def test_where_nothing_is_set_the_place_is_the_embedded_default(runtime_dir):
    place, found = settings(None)
    assert (place.address.url, place.is_default, place.autostart) == (f"ipc://{runtime_dir}/fabric", True, True)
    assert place.source == "the embedded default, in FABRIC_RUNTIME_DIR"
    assert {each.level for each in found} == {OK}


def test_an_address_that_is_none_is_no_place():
    place, found = settings("nonsense")
    assert place is None
    assert WRONG in {each.level for each in found}


def test_a_directory_that_is_not_there_yet_is_fine(place):
    assert directory(place)[0].level == OK


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_made_is_wrong(place):
    place.address.directory.parent.chmod(0o500)
    assert directory(place)[0].level == WRONG


def test_a_directory_that_is_ours_alone_is_fine_and_one_that_others_can_open_is_wrong(place):
    path = place.address.directory
    path.mkdir(mode=0o700)
    assert directory(place)[0].level == OK
    path.chmod(0o750)
    (problem,) = directory(place)
    assert (problem.level, problem.fix) == (WRONG, f"chmod 700 {path}")


def test_a_directory_that_is_a_link_or_a_file_is_wrong(place):
    path = place.address.directory
    path.symlink_to(path.parent)
    assert "is a link" in directory(place)[0].text
    path.unlink()
    path.write_text("")
    assert "is no directory" in directory(place)[0].text


def test_a_tcp_address_has_no_directory_and_leaves_nothing_behind():
    address = parse_address("tcp://127.0.0.1:7400")
    assert directory(Place(address, "", is_default=False, autostart=False)) == leftovers(address) == []
    assert not is_locked(address)


def test_sockets_that_were_left_behind_are_named(place):
    path = place.address.directory
    path.mkdir(mode=0o700)
    (path / "messages").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path / "events-in"))
        assert leftovers(place.address) == ["events-in"]


def test_a_lock_that_is_held_is_seen_until_it_is_released(place):
    path = place.address.directory
    assert not is_locked(place.address)
    path.mkdir(mode=0o700)
    with (path / "proxy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_locked(place.address)
        fcntl.flock(file, fcntl.LOCK_UN)
        assert not is_locked(place.address)


def test_a_process_that_was_stopped_is_known_from_one_that_runs():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid)
        stop(process.pid)
        assert is_stopped(process.pid)
        os.kill(process.pid, signal.SIGCONT)
        process.communicate(b"\n")
    assert not is_stopped(process.pid)


def test_the_limits_of_this_process_are_reported():
    (found,) = limits()
    assert found.what == "limits"
    assert "descriptors here" in found.text
