"""`python -m proxy`: arguments, settings, exit status."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fabric.errors import SettingsError
from fabric.settings import default_url, load
from fabric.testing import ProxyProcess, wait_until
from proxy.settings import ProxySettings


def run_proxy(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "proxy", *arguments]
    result = subprocess.run(
        command, cwd="/", env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )
    return result.returncode, result.stdout + result.stderr


def test_help_shows_the_options():
    status, text = run_proxy("--help")
    assert status == 0
    assert all(option in text for option in ("--url", "--insecure", "--settle", "--idle-exit", "--background"))


def test_an_unknown_option_exits_2():
    assert run_proxy("--colour")[0] == 2


def test_a_wrong_address_exits_1_and_shows_how_one_looks():
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


def test_it_ends_when_nobody_has_been_there_for_so_long():
    with ProxyProcess(idle_exit=0.2) as proxy:
        wait_until(lambda: not proxy.running)
        assert "nobody has been here" in proxy.log
        assert proxy.stop() == 0


def test_it_does_not_end_while_somebody_is_there(fabric_node):
    with ProxyProcess(idle_exit=0.2) as proxy:
        node = fabric_node(url=proxy.url)
        # Longer than two looks at the clock: what ends it comes between them.
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


def test_in_the_background_what_is_wrong_is_its_exit_status(place):
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


def test_a_setting_of_a_node_is_none_of_the_proxys(tmp_path, monkeypatch):
    config = tmp_path / "fabric.toml"
    config.write_text("[proxy]\nnode = 'x'")
    monkeypatch.setenv("FABRIC_CONFIG", str(config))
    with pytest.raises(SettingsError, match="no such setting"):
        load(ProxySettings, "proxy", {})
