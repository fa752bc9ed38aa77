from fabric.outcomes import Listed
from fabric.presence import Gate, present

NODE = {"node": "a", "origin": "00" * 8, "pid": 7, "host": "h", "since": 100.0, "seen": 101.0}
ENDPOINT = {"endpoint": "worker", "session": "s-1", **NODE}
LISTED = Listed("id", [ENDPOINT], [NODE], False)


def joined(name, **facts):
    return {"type": "fabric.endpoint.joined", "name": name, "origin": "o", "session": "s", **facts}


def test_the_present_members_look_like_joins_and_are_marked():
    node, endpoint = present("fabric.**", LISTED)
    assert node["type"] == "fabric.node.joined"
    assert endpoint["type"] == "fabric.endpoint.joined"
    assert (endpoint["name"], endpoint["session"], endpoint["history"], endpoint["ts"]) == (
        "worker",
        "s-1",
        True,
        100.0,
    )


def test_only_what_the_pattern_matches_is_told():
    assert [event["name"] for event in present("fabric.endpoint.*", LISTED)] == ["worker"]
    assert present("fabric.endpoint.left", LISTED) == []


def test_live_events_are_held_back_until_the_history_was_given():
    given = []
    gate = Gate(given.append)
    gate(joined("late"))
    assert given == []
    gate.open([joined("early", session="e")])
    assert [event["name"] for event in given] == ["early", "late"]


def test_a_member_that_joined_meanwhile_is_told_once():
    given = []
    gate = Gate(given.append)
    gate(joined("worker"))
    gate.open([joined("worker", history=True)])
    assert len(given) == 1


def test_an_open_gate_lets_everything_pass():
    given = []
    gate = Gate(given.append)
    gate.open([])
    gate(joined("worker"))
    gate(joined("worker"))
    assert len(given) == 2
