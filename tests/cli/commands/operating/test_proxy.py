import re
import tempfile

import pytest

import cli.commands.operating.proxy
from cli.main import run
from fabric.config.schema import settings_of
from fabric.config.settings import load
from fabric.testing import wait_until
from proxy.settings import ProxySettings


@pytest.fixture
def address():
    with tempfile.TemporaryDirectory(prefix="fc-") as directory:
        yield f"ipc://{directory}/f"


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_it_runs_in_the_foreground_serves_and_ends_cleanly(end, start, address, fabric_node):
    proxy = start("proxy", "--url", address, "--settle", "0")
    proxy.wait_for("listening on", "err")
    node = fabric_node("somebody", url=address)
    assert node.state == "up"
    node.close()
    assert getattr(proxy, end)() == 0
    assert re.search(r"INFO +listening on ipc://\S+ \(pid \d+", proxy.err)
    assert re.search(r"INFO +ended: SIG(INT|TERM)$", proxy.err.strip())
    assert proxy.out == ""


def test_a_second_one_at_the_same_address_ends_with_1_and_names_the_first(start, address):
    first = start("proxy", "--url", address)
    first.wait_for("listening on", "err")
    second = start("proxy", "--url", address)
    assert second.end() == 1
    assert f"{address} is held by another proxy (pid {first.pid}" in second.err
    first.terminate()


def test_an_address_that_others_can_reach_is_refused_unless_one_insists(start):
    refused = start("proxy", "--url", "tcp://0.0.0.0:7400")
    assert refused.end() == 1
    assert "--insecure" in refused.err


def test_it_listens_at_its_users_default_if_nobody_says_where(start):
    with tempfile.TemporaryDirectory(prefix="fc-") as directory:
        env = {"FABRIC_RUNTIME_DIR": directory}
        proxy = start("proxy", "--settle", "0", env=env)
        proxy.wait_for(f"listening on ipc://{directory}/fabric", "err")
        assert start("pub", "a.b", "--no-autostart", env=env).end() == 0
        proxy.terminate()


@pytest.mark.parametrize(
    "options", [["--url", "nowhere"], ["--settle", "-1"], ["--settle", "soon"], ["--url", "tcp://"], ["bogus"]]
)
def test_wrong_settings_are_wrong_usage(options, capfd):
    assert run(["proxy", *options]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_it_ends_by_itself_when_nobody_has_been_there_for_so_long(start, address, fabric_node):
    proxy = start("proxy", "--url", address, "--settle", "0", "--idle-exit", "0.5")
    proxy.wait_for("listening on", "err")
    fabric_node("visitor", url=address).close()
    assert proxy.end(timeout=20) == 0
    wait_until(lambda: proxy.process.returncode == 0)


#: Another value than the default for each kind of setting.
OTHER = ProxySettings(
    url="tcp://127.0.0.1:7500", insecure=True, max_bytes=1, settle=1e-05, hooks=(("/bin/true", "-a"), ("/bin/false",)),
    log_file="-x y", log_format="json", metrics="127.0.0.1:0", count=False,
)  # fmt: skip


@pytest.mark.parametrize("wanted", [ProxySettings(), OTHER], ids=["defaults", "others"])
def test_every_setting_of_a_proxy_is_a_flag(wanted, monkeypatch):
    seen = {}
    monkeypatch.setattr(cli.commands.operating.proxy, "run", lambda options: seen.update(options))
    assert run(["proxy", *wanted.arguments()]) == 0
    assert seen.keys() == {row.name for row in settings_of(ProxySettings)}
    assert None not in [value for name, value in seen.items() if name != "hooks"]
    assert load(ProxySettings, "proxy", seen) == wanted


@pytest.mark.parametrize("command", [[], ["run"], ["start"], ["restart"]])
def test_every_flag_is_shown_with_what_it_is_for_and_its_default(command, capsys):
    assert run(["proxy", *command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for row in settings_of(ProxySettings):
        assert f"{row.plain_help[1:]}. [default: {row.show(row.default)}]" in shown


def test_what_is_not_said_is_left_to_environment_and_file(monkeypatch):
    seen = {}
    monkeypatch.setattr(cli.commands.operating.proxy, "run", lambda options: seen.update(options))
    run(["proxy"])
    assert set(seen.values()) == {None}
