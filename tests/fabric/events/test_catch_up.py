from fabric.events.catch_up import MAX_ROUNDS, GatedSubscription, SnapshotGate, present
from fabric.messages.session.outcomes import Listing

NODE = {"node": "a", "origin": "00" * 8, "pid": 7, "host": "h", "since": 100.0, "seen": 101.0}
ENDPOINT = {"endpoint": "worker", "session": "s-1", **NODE}
LISTED = Listing("id", [ENDPOINT], [NODE], False)


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


def test_only_members_that_the_pattern_matches_are_in_the_snapshot():
    assert [event["name"] for event in present("fabric.endpoint.*", LISTED)] == ["worker"]
    assert present("fabric.endpoint.left", LISTED) == []


def test_live_events_are_held_back_until_the_history_was_delivered():
    given = []
    gate = SnapshotGate(given.append)
    gate(joined("late"))
    assert given == []
    gate.open([joined("early", session="e")])
    assert [event["name"] for event in given] == ["early", "late"]


def test_a_member_that_joined_meanwhile_is_announced_once():
    given = []
    gate = SnapshotGate(given.append)
    gate(joined("worker"))
    gate.open([joined("worker", history=True)])
    assert len(given) == 1


def test_an_open_gate_lets_everything_pass():
    given = []
    gate = SnapshotGate(given.append)
    gate.open([])
    gate(joined("worker"))
    gate(joined("worker"))
    assert len(given) == 2


def event(n, **facts):
    return {"type": "a", "ts": float(n), "src": "x", "n": n, **facts}


def test_retained_events_come_before_live_ones_and_none_comes_twice():
    given = []
    gate = SnapshotGate(given.append)
    gate(event(2))
    gate(event(3))
    gate.open([joined("worker")], [event(1, replayed=True), event(2, replayed=True)])
    assert given == [joined("worker"), event(1, replayed=True), event(2), event(3)]


def test_events_published_while_a_gate_opens_come_after_the_earlier_ones():
    given = []

    def give(envelope):
        given.append(envelope["n"])
        if envelope["n"] < 30:
            gate(event(envelope["n"] + 10))

    gate = SnapshotGate(give)
    gate(event(2))
    gate.open([], [event(1)])
    assert given == [1, 2, 11, 12, 21, 22, 31, 32]


def test_a_publisher_faster_than_the_callback_does_not_keep_the_gate_opening_for_ever():
    given = []

    def give(envelope):
        given.append(envelope["n"])
        if envelope["n"] < 10 * MAX_ROUNDS:
            gate(event(envelope["n"] + 1))

    gate = SnapshotGate(give)
    gate.open([], [event(0)])
    assert given == list(range(10 * MAX_ROUNDS + 1))


def test_applications_may_use_the_names_of_members_for_anything():
    given = []
    gate = SnapshotGate(given.append)
    gate({"type": "a", "name": ["a", "list"], "origin": {}})
    gate.open([joined("worker")])
    assert len(given) == 2


def test_a_gated_subscription_ends_with_the_gates_own(fabric_bus):
    given = []
    behind = GatedSubscription(fabric_bus, "a", given.append, 0, None)
    behind.front = fabric_bus.subscribe("a", given.append)
    fabric_bus.hand_over(behind, "a", event(1))
    behind.front.cancel()
    fabric_bus.hand_over(behind, "a", event(2))
    assert [envelope["n"] for envelope in given] == [1]
