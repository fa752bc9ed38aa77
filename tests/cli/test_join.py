"""Joining: the commands that join, and their output and end where there is no proxy."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from cli.exits import NO_PROXY, Failure
from cli.join import LinkNotes, joined
from cli.main import run
from fabric.errors import Closed
from fabric.testing import wait_until
from tests.processes import has_ended

#: Every command that joins, with the arguments that it needs.
JOINING = (
    ["demo", "--seconds", "1"], ["tap"], ["pub", "a.b"], ["trace", "a.b"], ["send", "a", "b"],
    ["notify", "--to", "a", "b"], ["request", "a", "b"], ["listen", "a"], ["ls"],
)  # fmt: skip


@pytest.fixture
def directory():
    """A short one: the address of a socket is 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="fc-")
    yield path
    shutil.rmtree(path)


def test_where_no_proxy_answers_every_command_that_joins_says_so_and_ends_with_3(start, directory):
    url = f"ipc://{directory}/nobody"
    commands = {words[0]: start(*words, "--url", url) for words in JOINING}
    assert {name: command.end() for name, command in commands.items()} == dict.fromkeys(commands, 3)
    said = f"fabric: no proxy answers at {url}. Start one there with: fabric proxy --url {url}\n"
    assert {name: command.err for name, command in commands.items()} == dict.fromkeys(commands, said)
    assert not any(command.out for command in commands.values())


def test_another_program_that_listens_there_is_not_taken_for_a_proxy(directory):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/messages")
        listener.listen()
        with (
            pytest.raises(Failure, match=r"but did not answer as a proxy within 0\.5 s") as failure,
            joined(f"ipc://{directory}", None, ready_timeout=0.2, busy_timeout=0.3),
        ):
            pass
    assert failure.value.code == NO_PROXY


def test_a_node_is_ready_and_is_closed_at_the_end(url):
    with joined(url, None, name="short") as node:
        assert (node.name, node.state) == ("short", "up")
    with pytest.raises(Closed):
        node.wait_ready()


@pytest.mark.parametrize("url", ["localhost", "tcp://", "ipc://relative", "tcp://127.0.0.1:70000"])
def test_an_address_that_is_none_is_wrong_usage_wherever_it_comes_from(url, capfd, monkeypatch):
    assert run(["tap", "--url", url]) == 2
    assert f"fabric: url (from argument): '{url}': " in capfd.readouterr().err
    monkeypatch.setenv("FABRIC_URL", url)
    assert run(["pub", "a.b"]) == 2
    assert "addresses look like tcp://127.0.0.1:7400 or ipc:///run/fabric" in capfd.readouterr().err


def test_a_proxy_is_not_started_where_that_is_turned_off(start, directory):
    env = {"FABRIC_RUNTIME_DIR": directory}
    commands = [
        start("pub", "a.b", "--no-autostart", env=env),
        start("pub", "a.b", env={**env, "FABRIC_AUTOSTART": "0"}),
    ]
    assert [command.end() for command in commands] == [3, 3]
    assert all("no proxy answers at" in command.err for command in commands)
    assert os.listdir(directory) == []


def test_at_the_embedded_default_one_proxy_is_started_for_all_that_need_it(start, directory):
    commands = [start("pub", "a.b", env={"FABRIC_RUNTIME_DIR": directory}) for _ in range(2)]
    try:
        assert [command.end() for command in commands] == [0, 0]
        pid = int(Path(directory, "fabric", "proxy.lock").read_text().split()[1])
        assert not has_ended(pid)
    finally:
        os.kill(pid, 15)
        wait_until(lambda: has_ended(pid), what="the proxy ends")


def test_a_proxy_that_cannot_be_started_is_explained(monkeypatch, capfd):
    monkeypatch.setenv("FABRIC_RUNTIME_DIR", "/proc")
    assert run(["pub", "a.b"]) == 3
    assert capfd.readouterr().err.startswith("fabric: cannot make the directory /proc/fabric")


def test_it_is_said_that_a_link_is_lost_and_is_back_but_not_that_it_came_up_at_first(capsys):
    notes = LinkNotes()
    for state in ("up", "down", "up", "up"):
        notes.add(state, "ipc:///x\x1b")
    assert capsys.readouterr().err.splitlines() == [
        "-- the link to ipc:///x\\u001b was lost; waiting for it to come back",
        "-- the link to ipc:///x\\u001b is back",
    ]
