"""`fabric ls`: the endpoints and nodes, and their joins and leaves."""

import orjson
import pytest

from cli.main import run
from fabric.testing import ProxyProcess


@pytest.fixture
def there(fabric_proxy, fabric_node):
    """A node with an endpoint, at a proxy of its own."""
    node = fabric_node("app")
    node.endpoint("worker").wait_ready()
    return node


def test_endpoints_and_nodes_are_listed_without_the_commands_own(there, fabric_proxy, capfd):
    assert run(["ls", "--url", fabric_proxy.url]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [each.split()[0] for each in lines if each] == ["ENDPOINT", "worker", "NODE", "app"]


def test_as_json_all_that_is_known_is_one_line(there, fabric_proxy, capfd):
    assert run(["ls", "--json", "--url", fabric_proxy.url]) == 0
    found = orjson.loads(capfd.readouterr().out)
    assert [(each["endpoint"], each["node"]) for each in found["endpoints"]] == [("worker", "app")]
    assert [each["node"] for each in found["nodes"]] == ["app"]
    assert found["truncated"] is False


def test_an_empty_fabric_is_said_to_be_empty(fabric_proxy, capfd):
    assert run(["ls", "--url", fabric_proxy.url]) == 0
    assert capfd.readouterr().out == "no endpoint is registered\nno other node is here\n"


def test_watching_prints_joins_and_leaves_until_ctrl_c(there, fabric_proxy, start):
    watching = start("ls", "--watch", "--json", "--url", fabric_proxy.url)
    watching.wait_for('"worker"')
    with there.endpoint("newcomer"):
        watching.wait_for('"newcomer"')
    watching.wait_until(lambda: "newcomer" not in watching.lines[-1], what="it has left")
    assert watching.interrupt() == 0
    assert watching.err == ""


def test_on_a_terminal_it_is_drawn_anew(there, fabric_proxy, start):
    watching = start("ls", "--watch", "--url", fabric_proxy.url, terminal=True)
    watching.wait_for("worker")
    with there.endpoint("newcomer"):
        watching.wait_for("newcomer")
    drawn = watching.out.count("\x1b[2J")
    assert drawn >= 2
    assert watching.interrupt() == 0


def test_it_goes_on_when_the_proxy_is_back(fabric_node, start):
    with ProxyProcess() as proxy, fabric_node("app", url=proxy.url) as node:
        watching = start("ls", "--watch", "--json", "--url", proxy.url)
        watching.wait_for('"app"')
        proxy.restart()
        node.endpoint("after").wait_ready(10)
        watching.wait_for('"after"')
        watching.interrupt()
