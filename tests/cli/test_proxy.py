import re
import tempfile

import pytest

from cli.main import run
from fabric.testing import wait_until


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
