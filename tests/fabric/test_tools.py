"""Tools for language models, with a real proxy."""

import asyncio
import os

import orjson
import pytest

import fabric
from fabric.tools import tools


@pytest.fixture
def root():
    """A name that no other test uses: the proxy is shared."""
    return f"t{os.urandom(4).hex()}"


@pytest.fixture
def make(node):
    """A function that makes a node and its tools, by name."""

    def make_tools(**options):
        made = node("agent")
        made.wait_ready()
        return {tool.name: tool for tool in tools(made, **options)}, made

    return make_tools


@pytest.fixture
def inbox(node, root):
    """An endpoint of the test."""
    with node("other").endpoint(root) as made:
        made.wait_ready()
        yield made


def test_tools_are_described_by_json_schemas(make):
    found, _ = make()
    assert list(found) == ["bus_send", "bus_status", "bus_info"]
    for tool in found.values():
        schema = orjson.loads(orjson.dumps(tool.schema()))
        assert schema["description"]
        assert schema["parameters"]["type"] == "object"
        assert set(schema["parameters"]["required"]) <= set(schema["parameters"]["properties"])
    assert set(found["bus_send"].parameters["properties"]) == {"target", "type", "text", "channel"}


def test_a_message_is_sent_with_its_channel(make, inbox, root):
    found, _ = make()
    answer = found["bus_send"](target=root, type="task_done", text="-rf --help", channel="feishu:oc_1")
    assert answer == f"Sent task_done to {root}: -rf --help"
    message = inbox.receive(5)
    assert message.body == {"text": "-rf --help", "type": "task_done", "channel": "feishu:oc_1"}
    assert message.sender == "anonymous:agent"


def test_a_message_is_sent_as_the_endpoint_that_was_named(make, inbox, root):
    found, node = make(sender=f"{root}-me")
    with node.endpoint(f"{root}-me") as me:
        me.wait_ready()
        found["bus_send"]({"target": root, "type": "ack", "text": "x" * 100, "channel": None})
        info = found["bus_info"]()
        assert f"Endpoint: {root}-me\nSession ID: {me.session}\nNode: agent\n" in info
        assert info.endswith("State: up")
    assert inbox.receive(5).sender == f"{root}-me"


def test_the_status_lists_the_endpoints(make, inbox, root):
    found, _ = make()
    answer = found["bus_status"]({})
    assert answer.startswith("Bus running. Endpoints (")
    assert f"{root} (sid={inbox.session[:8]})" in answer


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "the argument 'target' is missing"),
        ({"target": "", "type": "a", "text": "b"}, "the argument 'target' is empty"),
        ({"target": "a", "type": "a", "text": None}, "the argument 'text' is missing"),
        ({"target": "a", "type": "a", "text": 3}, "the argument 'text' is text, not int"),
        ({"target": "a", "type": "a", "text": "", "to": "b"}, "there is no argument 'to': target, type, text, channel"),
        ({"target": "a b", "type": "a", "text": ""}, "white space"),
        ({"target": "nobody-has-this-name", "type": "a", "text": ""}, "no endpoint is called"),
        (7, "int"),
    ],
)
def test_an_error_is_a_text_and_never_raised(make, arguments, problem):
    found, _ = make()
    answer = found["bus_send"](arguments)
    assert answer.startswith("Failed: ")
    assert problem in answer


def test_an_empty_target_is_no_broadcast(make, inbox):
    found, _ = make()
    assert found["bus_send"](target=" ", type="a", text="b").startswith("Failed: ")
    assert inbox.poll() == []


def test_a_foreign_name_is_escaped(make, node):
    found, _ = make()
    answer = found["bus_send"](target="x\x1b[2J", type="a", text="b")
    assert "\x1b" not in answer


def test_without_a_proxy_the_answers_say_so(lonely_url):
    with fabric.connect("lonely", url=lonely_url, bus=fabric.Bus(), close_timeout=0.0) as node:
        found = {tool.name: tool for tool in tools(node, timeout=0.1)}
        assert found["bus_send"](target="a", type="a", text="b").startswith("Failed: ")
        assert found["bus_status"]().startswith("Bus not running: ")
        assert "State: connecting" in found["bus_info"]()


def test_in_a_coroutine_a_tool_must_be_awaited(make, inbox, root):
    found, _ = make()
    arguments = {"target": root, "type": "a", "text": "b"}

    async def main():
        return found["bus_status"](), await found["bus_send"].acall(arguments)

    wrong, right = asyncio.run(main())
    assert wrong.startswith("Failed: ")
    assert right == f"Sent a to {root}: b"
