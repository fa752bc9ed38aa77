"""Rules applied to messages and events: what is done, and that nothing and nobody holds it up."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from fabric.bus.bus import Bus
from fabric.errors import NoSuchEndpoint
from fabric.rules.item import HOPS, MAX_HOPS
from fabric.rules.running.host import Host
from fabric.testing import wait_until
from tests.fabric.rules.applied import counts, message, read_pid
from tests.processes import has_ended


class Fake:
    """A node that notes what it is told."""

    url = "ipc:///run/test"

    def __init__(self):
        self.published, self.sent, self.gate = [], [], None

    def publish(self, topic, payload=None):
        if self.gate:
            self.gate.wait(10)
        self.published.append((topic, payload))

    def send(self, to, body, *, sender="", timeout=5.0):
        if to == "nobody":
            raise NoSuchEndpoint(to)
        self.sent.append((to, body, sender, timeout))
        return SimpleNamespace(wait=lambda timeout: 1)


RULE = '[[rule]]\nname = "r"\n'


def test_all_actions_of_a_rule_are_done_and_none_hides_another(applied):
    node, routed = Fake(), []
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


def test_one_action_that_fails_costs_the_others_nothing(applied):
    applier = applied(
        f'{RULE}publish = "x"\nsend = "nobody"\nroute = true\nprint = "{{text}}"\ninbox = true\n', write=broken
    )
    applier.apply(message("hi"))
    assert applier.wait(10)
    assert [handed.text for handed in applier.host.poll()] == ["hi"]
    assert counts(applier)["failures"] == 4


def broken(line):
    raise OSError("no terminal")


def test_messages_that_no_rule_matches_are_counted_and_the_default_is_theirs(applied):
    applier = applied(f'{RULE}type = "a"\nprint = true\n')
    for kind in "aab":
        applier.apply(message(type=kind))
    assert (applier.stats()["unmatched"], counts(applier)["matched"]) == (1, 2)
    assert applier.wait(10)
    applier = applied(f'{RULE}type = "a"\nprint = true\n[default]\nprint = "? {{text}}"\n')
    applied.lines.clear()
    applier.apply(message("x"))
    assert applier.wait(10)
    assert applied.lines == ["? x\n"]
    assert (applier.stats()["unmatched"], counts(applier, "default")["matched"]) == (1, 1)


@pytest.mark.parametrize(
    "arrived", [{}, {"body": None}, {"body": [1]}, {"from": 5, "ts": "x", "body": {"text": {}}}, {"ts": 1e300}]
)
def test_a_message_that_is_none_of_ours_breaks_nothing(arrived, applied):
    applier = applied(
        f'{RULE}print = "{{from}}{{ts:%H}}{{text}}{{body.x.y}}"\nexec = ["true", "x{{text}}"]\ninbox = true\n'
    )
    applier.apply(arrived)
    applier.apply(message("fine"))
    assert applier.wait(10)
    assert applied.lines[1].startswith("worker-1")
    assert counts(applier)["failures"] == 0


def test_a_terminal_that_hangs_holds_up_neither_messages_nor_other_actions(applied):
    gate = threading.Event()
    applier = applied(f"{RULE}print = true\ninbox = true\n", write=lambda line: gate.wait(10))
    for number in range(1_500):
        applier.apply(message(str(number)))
    assert len(applier.host.poll()) == 1_000
    assert counts(applier)["dropped"] >= 499
    gate.set()


def test_lines_of_all_rules_come_in_the_order_of_their_messages(applied):
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


def test_what_comes_while_the_host_is_busy_comes_together_and_what_cannot_wait_comes_at_once(applied):
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
def test_only_an_outcome_that_says_it_is_ok_counts_as_sent(outcome, sent, applied):
    applier = applied(f'{RULE}route = {{ otherwise = "print" }}\n', router=SimpleNamespace(route=lambda *_: outcome))
    applier.apply(message("x", channel="c"))
    assert applier.wait(10)
    assert (applied.lines, counts(applier)["failures"]) == (([], 0) if sent else (["x\n"], 1))


def test_what_cannot_be_routed_goes_to_the_inbox_where_the_rule_says_so(applied):
    applier = applied(f'{RULE}route = {{ otherwise = "inbox" }}\n')
    applier.apply(message("no channel"))
    applier.apply(message("no router", channel="c"))
    assert applier.wait(10)
    assert [handed.text for handed in applier.host.poll()] == ["no channel", "no router"]
    assert counts(applier)["last_error"] == "route: there is no router here"


def test_a_router_that_hangs_or_raises_holds_nothing_up(applied):
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


def test_a_subscriber_that_hangs_in_publish_holds_nothing_up(applied):
    node = Fake()
    node.gate = threading.Event()
    applier = applied(f'{RULE}publish = "x"\nprint = "{{text}}"\n', node)
    for text in "ab":
        applier.apply(message(text))
    wait_until(lambda: applied.lines == ["a\n", "b\n"])
    node.gate.set()
    wait_until(lambda: len(node.published) == 2)


def test_without_a_node_publishing_and_sending_fail_and_say_so(applied):
    applier = applied(f'{RULE}publish = "x"\nsend = "y"\n')
    applier.apply(message())
    assert applier.wait(10)
    assert (counts(applier)["failures"], counts(applier)["last_error"].partition(": ")[2]) == (
        2, "there is no node here to publish or send with",
    )  # fmt: skip


def test_a_message_that_is_not_delivered_is_a_failure_and_the_next_one_does_not_wait(applied):
    node, gate = Fake(), threading.Event()

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


# Events


def test_events_have_their_rules_and_those_come_and_go_with_the_file(applied, tmp_path):
    bus = Bus()
    event = '[[rule]]\nname = "r"\non = "event"\ntopic = "{0}"\nprint = "{topic} {body.n}"\n'
    applier = applied(event.replace("{0}", "job.*"))
    applier.watch(bus)
    bus.publish("job.7", {"n": 1, "type": "other"})
    bus.publish("other", {"n": 2})
    (tmp_path / "rules.toml").write_text(event.replace("{0}", "other"))
    applier.look()
    bus.publish("job.7", {"n": 3})
    bus.publish("other", {"n": 4})
    assert applier.wait(10)
    assert applied.lines == ["job.7 1\n", "other 4\n"]
    assert (counts(applier)["matched"], applier.stats()["unmatched"], applier.stats()["reloads"]) == (2, 0, 1)
    applier.close()
    assert len(bus) == 0


def test_rules_that_answer_each_other_end_after_some_hops(applied):
    bus, node = Bus(), Fake()
    node.publish = bus.publish
    applier = applied(f'{RULE}on = "event"\ntopic = "loop.*"\npublish = "loop.again"\n', node)
    applier.watch(bus)
    bus.publish("loop.start", {})
    wait_until(lambda: counts(applier)["failures"] == 1)
    assert counts(applier)["matched"] == MAX_HOPS + 1
    assert "in a circle" in counts(applier)["last_error"]


# The file


def test_a_changed_file_counts_from_the_next_message_on(applied, tmp_path, monkeypatch):
    monkeypatch.setattr("fabric.rules.running.apply.LOOK", 0.0)
    applier = applied(f'{RULE}print = "old {{text}}"\n')
    applier.apply(message("1"))
    (tmp_path / "rules.toml").write_text(f'{RULE}print = "new {{text}}"\n')
    applier.apply(message("2"))
    (tmp_path / "rules.toml").write_text("broken")
    applier.apply(message("3"))
    assert applier.wait(10)
    assert applied.lines == ["old 1\n", "new 2\n", "new 3\n"]
    assert counts(applier)["matched"] == 3
    assert "rules.toml:1: is no TOML" in applier.stats()["problem"]


def test_a_process_that_ends_takes_its_programs_with_it(tmp_path):
    (tmp_path / "rules.toml").write_text(f'[[rule]]\nexec = ["sh", "-c", "echo $$ > {tmp_path}/pid; sleep 600"]\n')
    program = (
        "import os, sys, time, fabric.rules.running.apply as a\n"
        "applier = a.Applier(a.Rules.load(sys.argv[1])); applier.apply({})\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "rules.toml", tmp_path / "pid"], check=True, timeout=30)
    pid = wait_until(lambda: read_pid(tmp_path / "pid"))
    wait_until(lambda: has_ended(pid))
