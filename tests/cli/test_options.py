import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

import cli.options
from cli.main import run
from fabric.testing import wait_until
from tests.processes import has_ended


@pytest.fixture
def impatient(monkeypatch):
    """Nothing comes after the patience that users are granted, and a test need not wait for that."""
    monkeypatch.setattr(cli.options, "PATIENCE", 0.2)
    monkeypatch.setattr(cli.options, "MORE_PATIENCE", 0.3)


@pytest.fixture
def directory():
    """A short one: the address of a socket is 107 bytes at most."""
    path = tempfile.mkdtemp(prefix="fc-")
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("words", [["tap"], ["pub", "a.b"], ["demo", "--seconds", "1"]], ids=lambda words: words[0])
def test_where_no_proxy_answers_every_command_says_so_and_ends_with_3(words, impatient, directory, capfd):
    url = f"ipc://{directory}/nobody"
    assert run([*words, "--url", url]) == 3
    out, err = capfd.readouterr()
    assert err == f"fabric: no proxy answers at {url}. Start one there with: fabric proxy --url {url}\n"
    assert out == ""


def test_something_else_that_listens_there_is_not_taken_for_a_proxy(impatient, directory, capfd):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/messages")
        listener.listen()
        assert run(["pub", "a.b", "--url", f"ipc://{directory}"]) == 3
    assert "but did not answer as a proxy within 0.5 s" in capfd.readouterr().err


@pytest.mark.parametrize("url", ["localhost", "tcp://", "ipc://relative", "tcp://127.0.0.1:70000"])
def test_an_address_that_is_none_is_wrong_usage_wherever_it_comes_from(url, capfd, monkeypatch):
    assert run(["tap", "--url", url]) == 2
    assert f"fabric: url (from argument): '{url}': " in capfd.readouterr().err
    monkeypatch.setenv("FABRIC_URL", url)
    assert run(["pub", "a.b"]) == 2
    assert "addresses look like tcp://127.0.0.1:7400 or ipc:///run/fabric" in capfd.readouterr().err


def test_a_proxy_is_not_started_where_that_is_turned_off(impatient, directory, monkeypatch, capfd):
    monkeypatch.setenv("FABRIC_RUNTIME_DIR", directory)
    assert run(["pub", "a.b", "--no-autostart"]) == 3
    monkeypatch.setenv("FABRIC_AUTOSTART", "0")
    assert run(["pub", "a.b"]) == 3
    assert os.listdir(directory) == []
    assert capfd.readouterr().err.count("no proxy answers at") == 2


def test_at_the_embedded_default_a_proxy_is_started_by_whoever_needs_one(start, directory):
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


@pytest.mark.parametrize("topic", ["a.*", "a..b", "", "a b", "fabric", "fabric.link.up", "x" * 256, "a.\x1b[31m"])
def test_a_topic_that_is_none_is_wrong_usage(topic, capfd):
    assert run(["pub", topic]) == 2
    err = capfd.readouterr().err
    assert "Invalid value for 'TOPIC'" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("words", [["a*"], [""], ["**", "--ignore", "a..b"]])
def test_a_pattern_that_is_none_is_wrong_usage(words, capfd):
    assert run(["tap", *words]) == 2
    assert "pattern" in capfd.readouterr().err
