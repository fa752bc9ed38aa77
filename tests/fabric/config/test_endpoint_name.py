"""The default name of an endpoint."""

import os
import threading

import pytest

import fabric
from fabric.config.endpoint_name import choose_name, endpoint_name
from fabric.errors import SettingsError


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A settings file that names an endpoint."""
    path = tmp_path / "fabric.toml"
    path.write_text('[fabric]\nendpoint = "filed"\n')
    monkeypatch.setenv("FABRIC_CONFIG", str(path))
    return path


def test_the_variable_comes_before_configuration_file_profile_and_default(file, monkeypatch):
    everything = {"configured": "configured", "profile": "profile", "default": "default"}
    monkeypatch.setenv("FABRIC_ENDPOINT", "variable")
    assert endpoint_name(**everything) == "variable"
    monkeypatch.setenv("FABRIC_ENDPOINT", " ")
    assert endpoint_name(**everything) == "configured"
    monkeypatch.delenv("FABRIC_ENDPOINT")
    assert endpoint_name(**everything) == "configured"
    assert endpoint_name(profile="profile", default="default") == "filed"
    monkeypatch.delenv("FABRIC_CONFIG")
    assert endpoint_name(profile="profile", default="default") == "profile"
    assert endpoint_name(default="default") == "default"


def test_without_any_source_the_name_is_the_program_and_the_host(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/my tool.py"])
    assert endpoint_name() == f"my-tool-{os.uname().nodename}"
    monkeypatch.setattr("sys.argv", ["/x/worker/__main__.py"])
    assert endpoint_name() == f"worker-{os.uname().nodename}"
    monkeypatch.setattr("sys.argv", [""])
    assert endpoint_name() == f"python-{os.uname().nodename}"


@pytest.mark.parametrize(
    ("name", "role", "called"),
    [
        ("lead", "gateway", "lead-gateway"),
        ("lead-gateway", "gateway", "lead-gateway"),
        ("gateway", "gateway", "gateway"),
        ("leadgateway", "gateway", "leadgateway-gateway"),
        ("lead", "", "lead"),
        ("lead", " ", "lead"),
    ],
)
def test_a_role_comes_after_the_name_once(name, role, called):
    assert choose_name("", None, name, "other", role=role) == called


def test_the_error_of_an_invalid_name_has_its_source(monkeypatch):
    monkeypatch.setenv("FABRIC_ENDPOINT", "two words")
    with pytest.raises(SettingsError, match="FABRIC_ENDPOINT"):
        endpoint_name()
    with pytest.raises(ValueError, match="must not be empty"):
        choose_name("", None)
    with pytest.raises(ValueError, match="white space"):
        choose_name("lead", role="a b")


def test_programs_that_ask_for_the_same_name_at_once_get_different_ones(node):
    name = endpoint_name(default="same", role=f"r{os.urandom(4).hex()}")
    nodes = [node(f"n{number}") for number in range(4)]
    at_once, endpoints = threading.Barrier(len(nodes)), []

    def register(each):
        at_once.wait(10)
        endpoint = each.endpoint(name, policy="suffix")
        endpoint.wait_ready()
        endpoints.append(endpoint)

    threads = [threading.Thread(target=register, args=(each,)) for each in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(endpoint.name for endpoint in endpoints) == [name, f"{name}-2", f"{name}-3", f"{name}-4"]


def test_endpoint_name_is_among_the_public_names():
    assert fabric.endpoint_name is endpoint_name
