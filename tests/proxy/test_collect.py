"""The record of a running proxy, queried over its socket."""

import orjson
import pytest
import zmq

import fabric
from fabric.config.address import parse_address
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity
from fabric.testing import ProxyProcess, wait_until
from proxy import client


@pytest.fixture
def address(fabric_proxy):
    return parse_address(fabric_proxy.url)


def test_the_record_describes_the_process(fabric_proxy, address):
    stats = client.stats(address)
    assert (stats.pid, stats.url, stats.nodes, stats.endpoints) == (fabric_proxy.pid, fabric_proxy.url, 0, 0)
    assert stats.version == fabric.__version__
    assert stats.process.memory > 2**20
    assert 3 < stats.process.descriptors < stats.process.descriptor_limit


def test_rows_are_included_on_request(address, fabric_node):
    node = fabric_node("worker")
    assert (client.stats(address).members, client.stats(address).busiest) == ((), ())
    stats = client.stats(address, nodes=10)
    assert ([member.node for member in stats.members], stats.truncated) == ([node.name], False)


def test_a_node_reports_a_second_after_it_connected(address, fabric_node):
    fabric_node("worker").subscribe("a.**", print)
    wait_until(lambda: client.stats(address, nodes=10).members[0].report is not None)
    stats = client.stats(address, nodes=10)
    assert (stats.members[0].report.subscriptions, stats.subscriptions) == (1, 1)


def test_the_losses_of_a_departed_node_are_in_the_record(address):
    with fabric.connect("loser", url=address.url, bus=fabric.Bus()) as node:
        subscription = node.subscribe("a", lambda event: None)
        subscription.wait_ready()
        node.publish("a", {"a set": {1}})
        node.publish("a", {"fine": 1})
    wait_until(lambda: client.stats(address).nodes == 0)
    stats = client.stats(address)
    assert (stats.dropped, stats.lost, stats.sent, stats.published) == ({"unencodable": 1}, 1, 1, 2)


def test_rows_that_do_not_fit_into_a_message_are_left_out_and_the_record_is_marked():
    with ProxyProcess(max_bytes=3_000) as proxy:
        address = parse_address(proxy.url)
        nodes = [fabric.connect(f"node-{number}", url=proxy.url, bus=fabric.Bus()) for number in range(20)]
        try:
            for node in nodes:
                node.wait_ready()
            stats = client.stats(address, nodes=100)
        finally:
            for node in nodes:
                node.close()
    assert stats.truncated
    assert (stats.nodes, 0 < len(stats.members) < 20) == (20, True)


@pytest.mark.parametrize("query", [{"topics": -1}, {"topics": "many"}, {"nodes": None, "topics": 1.5}, {"other": 1}])
def test_a_query_with_invalid_numbers_gets_no_rows(address, query):
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.connect(address.messages)
        dealer.send_multipart([verbs.STATS, b"1", orjson.dumps(query)])
        assert dealer.poll(5_000)
        verb, id_, record = dealer.recv_multipart()
    finally:
        context.destroy(linger=0)
    assert (verb, id_, orjson.loads(record)["busiest"]) == (b"RECORD", b"1", [])


def test_a_heartbeat_with_a_malformed_report_is_refused_and_counted(address):
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.connect(address.messages)
        identity = Identity("liar", b"12345678", 1, "host", "program")
        dealer.send_multipart(verbs.encode(verbs.Hello(verbs.VERSION, 1, identity)))
        dealer.send_multipart([b"PING", b"p", b'{"sent":-1}'])
        answers = []
        while [frames[0] for frames in answers][-1:] != [b"ERROR"]:
            assert dealer.poll(5_000)
            answers.append(dealer.recv_multipart())
    finally:
        context.destroy(linger=0)
    assert answers[-1][3] == b"malformed"
    assert client.stats(address).messages["malformed"] == 1


def test_with_counting_switched_off_nothing_is_counted():
    with ProxyProcess(count="no") as proxy:
        assert client.stats(parse_address(proxy.url), topics=10).plane.frames_in == 0
