import os
from pathlib import Path

import pytest

from fabric.config.address import default_url, parse_address
from fabric.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tcp://127.0.0.1:7400", ("tcp://127.0.0.1:7400", "tcp://127.0.0.1:7401", "tcp://127.0.0.1:7402")),
        ("tcp://host", ("tcp://host:7400", "tcp://host:7401", "tcp://host:7402")),
        ("tcp://host:9", ("tcp://host:9", "tcp://host:10", "tcp://host:11")),
        ("tcp://[::1]:7500", ("tcp://[::1]:7500", "tcp://[::1]:7501", "tcp://[::1]:7502")),
        ("tcp://[::1]", ("tcp://[::1]:7400", "tcp://[::1]:7401", "tcp://[::1]:7402")),
        ("tcp://*:7400", ("tcp://*:7400", "tcp://*:7401", "tcp://*:7402")),
        ("ipc:///run/fabric", tuple(f"ipc:///run/fabric/{name}" for name in ("messages", "events-in", "events-out"))),
    ],
)
def test_one_address_names_three_endpoints(url, expected):
    address = parse_address(url)
    assert (address.messages, address.events_in, address.events_out) == expected


@pytest.mark.parametrize("url", ["ipc:///run/fabric/", "ipc:////run/fabric", "ipc:///run//fabric"])
def test_spellings_of_one_directory_are_one_address(url):
    assert parse_address(url).messages.endswith("run/fabric/messages")
    assert parse_address(url).directory.name == "fabric"


def test_an_address_without_port_equals_the_one_with_the_default_port():
    assert parse_address("tcp://host") == parse_address("tcp://host:7400")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "host:7400",
        "udp://host:7400",
        "inproc://x",
        "tcp://",
        "tcp://:7400",
        "tcp://host:",
        "tcp://host:x",
        "tcp://host:0",
        "tcp://host:65534",
        "tcp://host:-1",
        "ipc://",
        "ipc://relative",
        "ipc:///" + "x" * 100,
    ],
)
def test_a_wrong_address_is_an_error_that_shows_how_one_looks(url):
    with pytest.raises(SettingsError, match=r"addresses look like tcp://127\.0\.0\.1:7400 or ipc:///run/fabric"):
        parse_address(url)


def test_the_highest_port_leaves_room_for_two_more():
    assert parse_address("tcp://h:65533").events_out == "tcp://h:65535"


def test_a_path_that_just_fits_a_socket_is_an_address():
    parse_address("ipc:///" + "x" * (107 - len("//events-out")))
    with pytest.raises(SettingsError, match="too long"):
        parse_address("ipc:///" + "x" * (108 - len("//events-out")))


# The embedded default


def test_the_embedded_default_is_in_the_runtime_directory_of_the_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("FABRIC_RUNTIME_DIR", str(tmp_path))
    assert default_url() == f"ipc://{tmp_path}/fabric"


@pytest.fixture
def elsewhere(monkeypatch):
    """Neither FABRIC_RUNTIME_DIR nor /run/user exist."""
    monkeypatch.delenv("FABRIC_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    real = Path.is_dir
    run = str(Path("/run/user") / str(os.getuid()))
    monkeypatch.setattr(Path, "is_dir", lambda path: False if str(path) == run else real(path))


def test_the_embedded_default_is_in_xdg_runtime_dir_next(elsewhere, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/some/dir")
    assert default_url() == "ipc:///some/dir/fabric"


def test_the_embedded_default_is_the_users_own_folder_among_temporary_files_last(elsewhere, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_url() == f"ipc://{tmp_path}/fabric-{os.getuid()}"
