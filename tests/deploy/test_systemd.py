"""The unit files: systemd accepts them, they restrict the proxy tightly, and the proxy runs under the restrictions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fabric.config.address import default_url, parse_address
from tests.deploy.sandbox import UNSUPPORTED, read
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SYSTEM, TCP, USER = UNITS / "fabric-proxy.service", UNITS / "fabric-proxy-tcp.conf", UNITS / "user/fabric-proxy.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def analyze(tmp_path, unit, *arguments, drop_in=None):
    """systemd-analyze on a copy of `unit` whose ExecStart is an existing program; exit status and text."""
    copy = tmp_path / "fabric-proxy.service"
    copy.write_text(unit.read_text().replace(program(unit), sys.executable))
    if drop_in is not None:
        directory = tmp_path / "fabric-proxy.service.d"
        directory.mkdir()
        shutil.copy(drop_in, directory / "tcp.conf")
    result = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments, str(copy)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def program(unit):
    return read([unit])["ExecStart"][0].split()[0]


@needs_systemd
@pytest.mark.parametrize(("unit", "drop_in"), [(SYSTEM, None), (SYSTEM, TCP), (USER, None)])
def test_systemd_finds_nothing_wrong_with_it(tmp_path, unit, drop_in):
    mode = ["--user"] if unit is USER else []
    result = analyze(tmp_path, unit, "verify", "--man=no", "--recursive-errors=no", *mode, drop_in=drop_in)
    assert result == (0, "")


@needs_systemd
@pytest.mark.parametrize(("drop_in", "most"), [(None, 5), (TCP, 15)])
def test_its_exposure_is_low(tmp_path, drop_in, most):
    status, text = analyze(tmp_path, SYSTEM, "security", "--offline=true", f"--threshold={most}", drop_in=drop_in)
    assert status == 0, text


@needs_systemd
@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
@pytest.mark.parametrize(
    ("units", "url"),
    [((SYSTEM,), None), ((SYSTEM, TCP), "tcp"), ((USER,), None)],
    ids=["ipc", "tcp", "user"],
)
def test_the_proxy_serves_under_its_filters(manager, units, url):
    url = url and f"tcp://127.0.0.1:{free_port()}"
    process = manager.proxy(sys.executable, str(Path(__file__).parent / "sandbox.py"), *map(str, units), "--", url=url)
    try:
        manager.wait_for("READY=1")
    except AssertionError:
        if process.poll() == UNSUPPORTED:
            pytest.skip(process.communicate()[0])
        raise
    assert manager.stop(process)[0] == 0


@pytest.mark.parametrize("unit", [SYSTEM, USER])
def test_it_restarts_within_a_second_however_often_and_is_watched(unit):
    settings = read([unit])
    assert settings["Type"] == ["notify"]
    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartSec"] == ["300ms"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert settings["WatchdogSec"] == ["10s"]
    assert settings["LimitNOFILE"] == ["65536"]


def test_the_services_directory_is_the_one_it_listens_in():
    settings = read([SYSTEM])
    assert f"FABRIC_URL=ipc:///run/{settings['RuntimeDirectory'][0]}" in settings["Environment"]
    # The proxy refuses a directory that is open to others, and a link; see the comments in the unit.
    assert settings["RuntimeDirectoryMode"] == ["0700"]
    assert settings["RuntimeDirectoryPreserve"] == ["no"]


def test_the_users_directory_is_the_embedded_default(monkeypatch, tmp_path):
    monkeypatch.delenv("FABRIC_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    expected = f"/run/user/{os.getuid()}" if Path(f"/run/user/{os.getuid()}").is_dir() else str(tmp_path)
    [url] = [each.removeprefix("FABRIC_URL=") for each in read([USER])["Environment"]]
    assert parse_address(url.replace("%t", expected)).url == parse_address(default_url()).url


def test_the_drop_in_listens_on_loopback():
    assert read([TCP])["Environment"] == ["FABRIC_URL=tcp://127.0.0.1:7400"]
