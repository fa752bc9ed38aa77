"""`python -m proxy`: arguments, settings, exit status."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import pytest

from fabric.config.address import default_url
from fabric.config.schema import settings_of
from fabric.config.settings import load
from fabric.errors import ProxyError, SettingsError
from fabric.testing import ProxyProcess, wait_until
from proxy import __main__ as entry
from proxy.settings import ProxySettings


def run_proxy(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "proxy", *arguments]
    result = subprocess.run(
        command, cwd="/", env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )
    return result.returncode, result.stdout + result.stderr


def test_help_shows_every_setting_with_its_help_and_default():
    status, text = run_proxy("--help")
    assert status == 0
    text = " ".join(text.split())
    assert "--background" in text
    for row in settings_of(ProxySettings):
        assert row.flag in text
        assert f"{row.plain_help} (default: {row.show(row.default)})" in text


def test_an_unknown_option_exits_2():
    assert run_proxy("--colour")[0] == 2


def test_a_wrong_address_exits_1_and_shows_the_syntax():
    status, text = run_proxy("--url", "http://localhost")
    assert status == 1
    assert "addresses look like" in text
    assert "Traceback" not in text


def test_a_wrong_setting_exits_1_and_names_its_source():
    status, text = run_proxy(FABRIC_SETTLE="soon")
    assert status == 1
    assert "settle (from FABRIC_SETTLE)" in text


def test_each_fact_is_a_line_with_time_and_level():
    with ProxyProcess() as proxy:
        pass_ = proxy.log.splitlines()
    assert len(pass_) == 1
    assert " INFO " in pass_[0]


def test_it_ends_after_the_idle_time_without_nodes():
    with ProxyProcess(idle_exit=0.2) as proxy:
        wait_until(lambda: not proxy.running)
        assert "nobody has been here" in proxy.log
        assert proxy.stop() == 0


def test_it_does_not_end_while_there_is_a_node(fabric_node):
    with ProxyProcess(idle_exit=0.2) as proxy:
        node = fabric_node(url=proxy.url)
        # Longer than two checks of the idle time.
        with pytest.raises(AssertionError, match="still"):
            wait_until(lambda: not proxy.running, 1.5)
        node.close()
        wait_until(lambda: not proxy.running)


@pytest.fixture
def place():
    """A short directory for a proxy, and its address."""
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        yield Path(directory) / "proxy", f"ipc://{directory}/proxy"


def test_in_the_background_it_returns_when_it_serves_and_logs_into_its_directory(place):
    directory, url = place
    assert run_proxy("--background", "--url", url, "--idle-exit", "0.2") == (0, "")
    log = directory / "proxy.log"
    assert "listening on" in log.read_text()
    wait_until(lambda: "nobody has been here" in log.read_text())
    wait_until(lambda: not [path for path in directory.iterdir() if path.is_socket()])


def test_in_the_background_an_error_is_its_exit_status(place):
    directory, url = place
    directory.mkdir()
    directory.chmod(0o755)
    status, _ = run_proxy("--background", "--url", url)
    assert status == 1


def test_settings_come_from_the_proxys_table(tmp_path, monkeypatch):
    config = tmp_path / "fabric.toml"
    config.write_text("[fabric]\nnode = 'x'\n[proxy]\nsettle = 0.7\nurl = 'tcp://127.0.0.1:7500'")
    monkeypatch.setenv("FABRIC_CONFIG", str(config))
    settings = load(ProxySettings, "proxy", {})
    assert (settings.settle, settings.address().events_in) == (0.7, "tcp://127.0.0.1:7501")


def test_without_address_it_serves_the_embedded_default():
    assert load(ProxySettings, "proxy", {}).address().url == default_url()


def test_a_setting_of_a_node_is_refused_in_the_proxys_table(tmp_path, monkeypatch):
    config = tmp_path / "fabric.toml"
    config.write_text("[proxy]\nnode = 'x'")
    monkeypatch.setenv("FABRIC_CONFIG", str(config))
    with pytest.raises(SettingsError, match="no such setting"):
        load(ProxySettings, "proxy", {})


#: Another value than the default for each setting.
OTHER = {
    "url": "tcp://127.0.0.1:7500", "insecure": True, "max_bytes": 1, "peer_bytes": 2, "settle": 1e-05, "timeout": 3.25,
    "idle_exit": 4.0, "hooks": (("/bin/true", "-a", "b c"), ("/bin/false",)), "hook_timeout": 5.0, "hook_concurrency": 6,
    "hook_queue": 7, "log_file": "-x y", "log_bytes": 8, "log_backups": 9, "log_format": "json", "log_level": "debug",
    "metrics": "[::1]:7480", "count": False, "topics": 10, "retain": ("state.**", "a,b"), "retain_topics": 11,
    "retain_bytes": 12,
}  # fmt: skip


def test_the_example_has_another_value_for_each_setting():
    assert {row.name for row in settings_of(ProxySettings) if OTHER[row.name] != row.default} == OTHER.keys()


@pytest.mark.parametrize("wanted", [ProxySettings(), ProxySettings(**OTHER)], ids=["defaults", "others"])
def test_the_arguments_of_settings_give_the_same_settings_with_any_environment_and_file(wanted, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(entry, "run", lambda options, **_: seen.update(options))
    entry.main(wanted.arguments())
    opposite = ProxySettings(**OTHER) if wanted == ProxySettings() else ProxySettings()
    for row in settings_of(ProxySettings):
        value = getattr(opposite, row.name)
        text = orjson.dumps(value).decode() if row.kind is tuple else str(value)
        monkeypatch.setenv(row.variable, text)
    assert load(ProxySettings, "proxy", {}) == opposite
    assert load(ProxySettings, "proxy", seen) == wanted


def test_in_the_background_given_settings_come_before_the_other_defaults(place, monkeypatch):
    directory, url = place
    assert run_proxy("--background", "--url", url, FABRIC_IDLE_EXIT="0.3")[0] == 0
    log = directory / "proxy.log"
    wait_until(lambda: "nobody has been here for 0.3 s" in log.read_text())
    wait_until(lambda: not [path for path in directory.iterdir() if path.is_socket()])


def test_a_proxy_in_the_background_does_not_settle_and_ends_when_unused(monkeypatch):
    seen = []

    def note(settings, **_):
        seen.append((settings.settle, settings.idle_exit))
        raise ProxyError("enough")

    monkeypatch.setattr(entry, "Server", note)
    url = {"url": "tcp://127.0.0.1:7500"}
    assert (
        entry.run(url) == entry.run(url, in_background=True) == entry.run(url | {"settle": 1}, in_background=True) == 1
    )
    assert seen == [(0.3, 0.0), (0.0, 60.0), (1.0, 60.0)]


@pytest.mark.parametrize("text", ["", "127.0.0.1:0", "localhost:7480", "[::1]:65535", "*:80", " host:1 "])
def test_where_metrics_are_served_is_a_host_and_a_port(text):
    assert load(ProxySettings, "proxy", {"metrics": text}).metrics == text.strip()


@pytest.mark.parametrize(
    "value", ["7480", ":7480", "host:", "host:x", "host:65536", "::1:80", "host:-1", "h:\u0663", 7480]
)
def test_a_malformed_host_and_port_is_refused_with_the_syntax(value):
    with pytest.raises(SettingsError, match=r"metrics \(from argument\): .* is not (HOST:PORT, such as|text)"):
        load(ProxySettings, "proxy", {"metrics": value})


@pytest.mark.parametrize(("name", "word"), [("log_format", "xml"), ("log_level", "loud")])
def test_an_unknown_choice_is_refused_with_the_known_ones(name, word):
    with pytest.raises(SettingsError, match=f"'{word}' is none of .*, "):
        load(ProxySettings, "proxy", {name: word})
