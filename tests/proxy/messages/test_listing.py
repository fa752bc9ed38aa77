"""LIST: the rows of endpoints and nodes, and the size limit of the answer."""

import orjson

from fabric.protocol import verbs
from tests.proxy.messages.peers import EPOCH, Proxy, hello, origin


def test_a_list_has_a_row_for_each_endpoint(proxy):
    proxy.tick(2)
    (listed,) = proxy.say(b"x", verbs.List("l", {})).heard(b"x")
    assert listed.listing["endpoints"] == [
        {
            "endpoint": "worker",
            "session": "boot-1",
            "node": "b",
            "origin": origin(b"b").hex(),
            "pid": 7,
            "host": "host",
            "shared": False,
            "since": EPOCH + 100,
            "seen": EPOCH + 100,
        }
    ]


def test_a_list_has_a_row_for_each_node(proxy):
    (listed,) = proxy.say(b"x", verbs.List("l", {})).heard(b"x")
    assert [(node["node"], node["program"], node["endpoints"]) for node in listed.listing["nodes"]] == [
        ("a", "app", 0),
        ("b", "app", 1),
    ]


def test_a_list_can_be_narrowed_to_one_name(crowd):
    (listed,) = crowd.say(b"x", verbs.List("l", {"endpoint": "two", "nodes": False})).heard(b"x")
    assert ([entry["endpoint"] for entry in listed.listing["endpoints"]], listed.listing["nodes"]) == (["two"], [])


def test_a_list_that_does_not_fit_is_cut_and_marked():
    proxy = Proxy(max_bytes=2_000).say(b"a", hello(b"a"))
    proxy.say(b"a", *[verbs.Register(key, f"name-{key}", "reject") for key in range(50)])
    (listed,) = proxy.say(b"x", verbs.List("l", {})).heard(b"x")
    assert (listed.listing["truncated"], 0 < len(listed.listing["endpoints"]) < 50) == (True, True)


def test_a_listing_is_json(proxy):
    assert orjson.loads(orjson.dumps(proxy.directory.listing()))["proxy"] == "boot"
