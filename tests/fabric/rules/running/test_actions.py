"""Actions of rules: each is done, and a failure or a hang costs no other action anything."""

import threading
from types import SimpleNamespace

import pytest

from fabric.errors import NoSuchEndpoint
from fabric.rules.item import HOPS
from fabric.rules.running.host import Host
from fabric.testing import wait_until
from tests.fabric.rules.applied import RecordingNode, counts, message

RULE = '[[rule]]\nname = "r"\n'


def test_all_actions_of_a_rule_are_done(applied):
    node, routed = RecordingNode(), []
    router = SimpleNamespace(route=lambda *what: routed.append(what) or SimpleNamespace(ok=True))
    applier = applied(
        f'{RULE}print = "p {{text}}"\ninbox = "i {{text}}"\nroute = "r {{text}}"\npublish = "done"\nsend = "lead"\n',
        node, sender="me", router=router,
    )  # fmt: skip
    arrived = message("x", channel="c:1")
    applier.apply(arrived)
    assert applier.wait(10)
    assert applied.lines == ["p x\n"]
    assert [handed.text for handed in applier.host.poll()] == ["i x"]
    assert routed == [("c:1", "r x", arrived)]
    assert node.published == [
        ("done", {"text": "x", "channel": "c:1", "from": "worker-1", "message_type": "", HOPS: 1})
    ]
    assert node.sent == [("lead", {"text": "x", "channel": "c:1", HOPS: 1}, "me", 5.0)]
    assert (counts(applier)["matched"], counts(applier)["runs"], counts(applier)["failures"]) == (1, 5, 0)


def test_an_action_that_fails_costs_the_others_nothing(applied):
    applier = applied(
        f'{RULE}publish = "x"\nsend = "nobody"\nroute = true\nprint = "{{text}}"\ninbox = true\n', write=broken
    )
    applier.apply(message("hi"))
    assert applier.wait(10)
    assert [handed.text for handed in applier.host.poll()] == ["hi"]
    assert counts(applier)["failures"] == 4


def broken(line):
    raise OSError("no terminal")


@pytest.mark.parametrize(
    "arrived", [{}, {"body": None}, {"body": [1]}, {"from": 5, "ts": "x", "body": {"text": {}}}, {"ts": 1e300}]
)
def test_a_message_of_any_shape_breaks_nothing(arrived, applied):
    applier = applied(
        f'{RULE}print = "{{from}}{{ts:%H}}{{text}}{{body.x.y}}"\nexec = ["true", "x{{text}}"]\ninbox = true\n'
    )
    applier.apply(arrived)
    applier.apply(message("fine"))
    assert applier.wait(10)
    assert applied.lines[1].startswith("worker-1")
    assert counts(applier)["failures"] == 0


def test_a_terminal_that_hangs_delays_neither_messages_nor_other_actions(applied):
    gate = threading.Event()
    applier = applied(f"{RULE}print = true\ninbox = true\n", write=lambda line: gate.wait(10))
    for number in range(1_500):
        applier.apply(message(str(number)))
    assert len(applier.host.poll()) == 1_000
    assert counts(applier)["dropped"] >= 499
    gate.set()


def test_lines_of_all_rules_are_in_the_order_of_their_messages(applied):
    applier = applied(f'{RULE}print = "1 {{text}}"\ncontinue = true\n[[rule]]\nprint = "2 {{text}}"\n')
    for number in range(50):
        applier.apply(message(str(number)))
    assert applier.wait(10)
    assert applied.lines == [f"{rule} {number}\n" for number in range(50) for rule in (1, 2)]


def test_colours_are_for_outputs_that_have_them(applied):
    applied(f'{RULE}print = "{{color:red}}{{text}}{{reset}}"\n', colour=True).apply(message("\x1b[1mx"))
    wait_until(lambda: applied.lines)
    assert applied.lines == ["\x1b[31m\\u001b[1mx\x1b[0m\n"]


# The host


def test_a_busy_host_gets_texts_together_and_urgent_ones_at_once(applied):
    host = Host()
    applier = applied(
        f'{RULE}type = "urgent"\ninbox = {{ format = "! {{text}}", when_busy = "now" }}\n[default]\ninbox = true\n',
        host=host,
    )
    with host.working():
        applier.apply(message("a"))
        applier.apply(message("b", type="urgent"))
        applier.apply(message("c"))
        assert [(each.text, each.busy) for each in host.poll()] == [("! b", True)]
    (handed,) = host.poll()
    assert handed.text == "a\n\nc"
    assert [item.text for item in handed.items] == ["a", "c"]


def test_a_hosts_callback_that_raises_is_a_failure_of_its_rule(applied):
    def callback(handed):
        raise KeyError("x")

    applier = applied(f"{RULE}inbox = true\n", host=Host(callback))
    applier.apply(message())
    wait_until(lambda: counts(applier)["failures"] == 1)
    assert "the host's callback raised KeyError" in counts(applier)["last_error"]


# Routes


@pytest.mark.parametrize(
    ("outcome", "sent"),
    [
        (SimpleNamespace(ok=True), True),
        (True, True),
        (SimpleNamespace(ok=False), False),
        (SimpleNamespace(success=True), False),
        (SimpleNamespace(ok="yes"), False),
        (None, False),
        ("sent", False),
    ],
)
def test_only_an_outcome_that_is_ok_counts_as_sent(outcome, sent, applied):
    applier = applied(f'{RULE}route = {{ otherwise = "print" }}\n', router=SimpleNamespace(route=lambda *_: outcome))
    applier.apply(message("x", channel="c"))
    assert applier.wait(10)
    assert (applied.lines, counts(applier)["failures"]) == (([], 0) if sent else (["x\n"], 1))


def test_a_text_that_cannot_be_routed_goes_where_otherwise_says(applied):
    applier = applied(f'{RULE}route = {{ otherwise = "inbox" }}\n')
    applier.apply(message("no channel"))
    applier.apply(message("no router", channel="c"))
    assert applier.wait(10)
    assert [handed.text for handed in applier.host.poll()] == ["no channel", "no router"]
    assert counts(applier)["last_error"] == "route: there is no router here"


def test_a_router_that_hangs_or_raises_delays_nothing(applied):
    gate = threading.Event()

    def route(channel, text, arrived):
        gate.wait(10)
        raise ConnectionError("down")

    applier = applied(f'{RULE}route = true\nprint = "{{text}}"\n', router=SimpleNamespace(route=route))
    for text in "ab":
        applier.apply(message(text, channel="c"))
    wait_until(lambda: applied.lines == ["a\n", "b\n"])
    gate.set()
    wait_until(lambda: counts(applier)["failures"] == 2)


# The node


def test_a_subscriber_that_hangs_in_publish_delays_nothing(applied):
    node = RecordingNode()
    node.gate = threading.Event()
    applier = applied(f'{RULE}publish = "x"\nprint = "{{text}}"\n', node)
    for text in "ab":
        applier.apply(message(text))
    wait_until(lambda: applied.lines == ["a\n", "b\n"])
    node.gate.set()
    wait_until(lambda: len(node.published) == 2)


def test_without_a_node_publishing_and_sending_fail(applied):
    applier = applied(f'{RULE}publish = "x"\nsend = "y"\n')
    applier.apply(message())
    assert applier.wait(10)
    assert (counts(applier)["failures"], counts(applier)["last_error"].partition(": ")[2]) == (
        2, "there is no node here to publish or send with",
    )  # fmt: skip


def test_a_message_that_is_not_delivered_is_a_failure_and_the_next_one_does_not_wait(applied):
    node, gate = RecordingNode(), threading.Event()

    def wait(timeout):
        gate.wait(10)
        raise NoSuchEndpoint("lead")

    node.send = lambda to, body, **options: node.sent.append(body["text"]) or SimpleNamespace(wait=wait)
    applier = applied(f'{RULE}send = "lead"\n', node)
    for text in "abc":
        applier.apply(message(text))
    wait_until(lambda: node.sent == ["a", "b", "c"])
    gate.set()
    wait_until(lambda: counts(applier)["failures"] == 3)
