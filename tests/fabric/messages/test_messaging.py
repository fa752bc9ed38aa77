"""Endpoints, receipts and queries of nodes at a real proxy."""

import asyncio
import re

import pytest

import fabric
from fabric.testing import wait_until


@pytest.fixture
def pair(fabric_node, shared_proxy):
    return fabric_node("asker", url=shared_proxy.url), fabric_node("holder", url=shared_proxy.url)


def test_a_message_arrives_as_a_dict_stamped_by_the_proxy(pair):
    asker, holder = pair
    inbox = holder.endpoint("stamped")
    asker.endpoint("asker-1")
    receipt = asker.send("stamped", {"text": "hi"}, type="ack", channel="feishu:oc_1", sender="asker-1")
    assert receipt.wait(5) == 1
    message = inbox.receive(5)
    assert message["from"] == "asker-1"
    assert message["to"] == "stamped"
    assert message["id"] == receipt.id
    assert message["body"] == {"text": "hi", "type": "ack", "channel": "feishu:oc_1"}
    assert message["type"] == "message"
    assert isinstance(message["ts"], float)


def test_a_sender_without_a_name_is_anonymous(pair):
    asker, holder = pair
    inbox = holder.endpoint("anonymous-seen")
    asker.send("anonymous-seen", {}).wait(5)
    assert inbox.receive(5).sender == "anonymous:asker"


def test_a_name_that_is_not_the_senders_own_is_refused(pair):
    asker, holder = pair
    holder.endpoint("mine")
    with pytest.raises(fabric.SenderNotOwned, match="mine"):
        asker.send("mine", {}, sender="mine")


def test_a_request_is_answered_by_the_return_value_of_the_handler(pair):
    asker, holder = pair
    holder.endpoint("adder", lambda m: m.body["a"] + m.body["b"])
    assert asker.request("adder", {"a": 1, "b": 2}).wait(5) == 3


def test_a_request_can_be_answered_from_the_inbox(pair):
    asker, holder = pair
    inbox = holder.endpoint("slow")
    receipt = asker.request("slow", {})
    inbox.receive(5).reply({"at": "last"})
    assert receipt.wait(5) == {"at": "last"}


def test_an_exception_of_the_handler_is_raised_at_the_requester(pair):
    asker, holder = pair

    def handler(m):
        raise LookupError("no such row")

    holder.endpoint("raiser", handler)
    with pytest.raises(fabric.RemoteError) as caught:
        asker.request("raiser", {}).wait(5)
    assert (caught.value.type, caught.value.text) == ("LookupError", "no such row")


def test_a_message_to_an_unknown_name_fails_at_once_with_similar_names(pair):
    asker, holder = pair
    holder.endpoint("worker-seven")
    with pytest.raises(fabric.NoSuchEndpoint) as caught:
        asker.send("worker-sevn", {}, timeout=30).wait(5)
    assert "worker-seven" in caught.value.similar


def test_a_message_to_a_full_inbox_fails_as_busy(pair):
    asker, holder = pair
    holder.endpoint("tiny", max_inbox=1)
    asker.send("tiny", {}).wait(5)
    with pytest.raises(fabric.EndpointBusy):
        asker.send("tiny", {}, timeout=1).wait(5)


def test_a_broadcast_reaches_everybody_but_the_sender(fabric_node, fabric_proxy):
    asker, holder = fabric_node("asker"), fabric_node("holder")
    inboxes = [holder.endpoint("b-1"), holder.endpoint("b-2")]
    own = asker.endpoint("b-own")
    assert asker.send("*", {"text": "all"}, sender="b-own").wait(5) == 2
    assert [inbox.receive(5).body for inbox in inboxes] == [{"text": "all"}] * 2
    assert own.poll() == []


def test_an_empty_receiver_is_an_error(pair):
    with pytest.raises(ValueError, match=r"empty|1 to"):
        pair[0].send("", {})


def test_the_error_about_a_taken_name_names_its_holder(pair):
    asker, holder = pair
    holder.endpoint("taken")
    with pytest.raises(fabric.NameTaken, match="holder"):
        asker.endpoint("taken").wait_ready(5)


def test_a_replaced_holder_has_lost_its_name(pair):
    asker, holder = pair
    old = holder.endpoint("throne")
    asker.endpoint("throne", policy="replace").wait_ready(5)
    with pytest.raises(fabric.MessageError, match="throne"):
        old.receive(5)
    assert old.state == "lost"


def test_a_suffix_is_chosen_by_the_proxy(pair):
    asker, holder = pair
    holder.endpoint("many", policy="suffix")
    second = asker.endpoint("many", policy="suffix")
    second.wait_ready(5)
    assert second.name == "many-2"


def test_a_shared_name_takes_turns(pair):
    asker, _ = pair
    inboxes = [node.endpoint("group", policy="share") for node in pair]
    for inbox in inboxes:
        inbox.wait_ready(5)
    for _ in range(6):
        asker.send("group", {}).wait(5)
    assert [len(inbox) for inbox in inboxes] == [3, 3]


def test_a_closed_name_is_free_again(pair):
    asker, holder = pair
    holder.endpoint("brief").close()
    wait_until(lambda: all(entry["endpoint"] != "brief" for entry in asker.endpoints()))
    asker.endpoint("brief").wait_ready(5)


def test_the_list_of_endpoints_has_their_nodes_and_sessions(pair):
    asker, holder = pair
    inbox = holder.endpoint("listed")
    entry = next(entry for entry in asker.endpoints() if entry["endpoint"] == "listed")
    assert entry["node"] == "holder"
    assert entry["session"] == inbox.session
    assert entry["origin"] == holder.origin.hex()


def test_everything_can_be_awaited(pair):
    asker, holder = pair

    async def main():
        async def handler(message):
            return message.body["n"] * 2

        endpoint = holder.endpoint("doubler", handler)
        await endpoint.ready(5)
        try:
            return await asker.request("doubler", {"n": 21})
        finally:
            endpoint.close()

    assert asyncio.run(main()) == 42


def test_waiting_for_a_receipt_on_a_running_loop_is_refused(pair):
    asker, holder = pair
    holder.endpoint("loop-refused")

    async def main():
        asker.send("loop-refused", {}).wait()

    with pytest.raises(RuntimeError, match="await"):
        asyncio.run(main())


def test_a_message_from_a_program_that_is_no_node_is_anonymous(pair, shared_proxy):
    inbox = pair[1].endpoint("once")
    receipt = fabric.send_once("once", {"text": "hi"}, sender="cron", url=shared_proxy.url)
    assert receipt.state == "delivered"
    assert inbox.receive(5).sender == "anonymous:cron"


@pytest.mark.parametrize(
    "body", [{"n": float("nan")}, {"n": float("inf")}, {1: 2}, {"s": {1, 2}}, {"text": "\ud800"}, {"n": 2**70}]
)
def test_a_body_that_cannot_be_carried_is_refused_at_the_sender(pair, body):
    with pytest.raises(fabric.BadMessage):
        pair[0].send("anybody", body)


def test_a_body_that_nests_too_deep_is_refused_at_the_sender(pair):
    body = inner = {}
    for _ in range(400):
        inner["in"] = inner = {}
    with pytest.raises(fabric.BadMessage):
        pair[0].send("anybody", body)


@pytest.mark.parametrize("body", [[1], "text", None, 7])
def test_a_body_that_is_no_object_is_refused_at_the_sender(pair, body):
    with pytest.raises(fabric.BadMessage, match="mapping"):
        pair[0].send("anybody", body)


def test_a_body_over_the_limit_is_refused_at_the_sender(pair):
    with pytest.raises(fabric.MessageTooLarge) as caught:
        pair[0].send("anybody", {"text": "x" * (11 * 1024 * 1024)})
    assert caught.value.size > caught.value.limit


def test_a_type_given_twice_must_be_the_same(pair):
    with pytest.raises(ValueError, match="type"):
        pair[0].send("anybody", {"type": "ack"}, type="nack")


def test_closing_a_node_fails_its_open_receipts(fabric_node, shared_proxy):
    asker, holder = fabric_node("asker", url=shared_proxy.url), fabric_node("holder", url=shared_proxy.url)
    holder.endpoint("silent")
    receipt = asker.request("silent", {}, timeout=60)
    wait_until(lambda: receipt.state == "delivered")
    asker.close(timeout=0)
    with pytest.raises(fabric.Closed):
        receipt.wait(5)


def test_without_a_proxy_a_message_fails_by_its_deadline(fabric_node, tmp_path):
    node = fabric_node("lonely", url=f"ipc://{tmp_path}/none"[:90], ready=False)
    with pytest.raises(fabric.NotConnected):
        node.send("anybody", {}, timeout=0.2).wait(5)


def test_members_are_announced_as_they_come_and_go(pair):
    asker, holder = pair
    with asker.events("fabric.endpoint.*", timeout=5) as events:
        events.subscription.wait_ready(everyone=True)
        endpoint = holder.endpoint("announced")
        joined = next(event for event in events if event["name"] == "announced")
        endpoint.close()
        left = next(event for event in events if event["name"] == "announced")
    assert re.search("joined$", joined["type"])
    assert re.search("left$", left["type"])
    assert (joined["node"], joined["origin"]) == ("holder", holder.origin.hex())


def test_a_subscription_with_history_gets_the_present_members_first(pair):
    asker, holder = pair
    holder.endpoint("here-before")
    seen = []
    asker.subscribe("fabric.endpoint.joined", seen.append, history=True)
    wait_until(lambda: any(event["name"] == "here-before" for event in seen))
    holder.endpoint("came-after")
    wait_until(lambda: any(event["name"] == "came-after" for event in seen))
    first = next(event for event in seen if event["name"] == "here-before")
    assert first["history"] is True


@pytest.mark.parametrize(
    "question", [{"interest": [1]}, {"interest": None}, {"recover": [1]}, {"trace": []}, 5, None, "trace"]
)
def test_a_query_that_makes_no_sense_is_answered_all_the_same(pair, caplog, question):
    asker, holder = pair
    assert asker._connected.messaging.queries.ask(holder.origin, question, 5).result(5) == [None]
    assert caplog.records == []
