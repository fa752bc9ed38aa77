"""An endpoint whose messages are handled by rules, through a real proxy."""

import pytest

from fabric.errors import NoSuchEndpoint, RemoteError
from fabric.rules import Host, Rules, RulesError, serve
from fabric.testing import wait_until

RULES = """
[[rule]]
name = "clock"
type = "time"
exec = { command = ["sh", "-c", 'echo "[\\"$FABRIC_TEXT\\"]"'], answer = true }

[[rule]]
name = "broken"
type = "broken"
exec = { command = ["sh", "-c", "echo no such thing >&2; exit 3"], answer = true }

[[rule]]
name = "reply"
type = "hello"
send = { to = "{from}", body = { text = "hello {from}, I am {to}" } }

[[rule]]
name = "tell"
on = "event"
topic = "job.*.done"
send = { to = "asker", body = { text = "{topic.2} is done", ok = "{body.ok}" } }

[default]
inbox = "{from}: {text}"
"""


@pytest.fixture
def serving(node, tmp_path):
    """A function that serves rules as an endpoint, and a node that talks to it."""
    path = tmp_path / "rules.toml"
    made = []

    def make(name="lead-agent", text=RULES, **options):
        path.write_text(text)
        made.append(serve(node(), name, path, **options))
        made[-1].endpoint.wait_ready()
        return made[-1]

    yield make
    for served in made:
        served.close()


def test_rules_are_applied_to_messages(serving, node):
    served = serving("lead-agent")
    asker = node()
    with asker.endpoint("asker") as inbox:
        asker.send("lead-agent", {"text": "hi\x1b"}, sender="asker").wait()
        assert served.host.get(10).text == "asker: hi\\u001b"
        asker.send("lead-agent", {"type": "hello"}, sender="asker").wait()
        answer = inbox.receive(10)
        assert (answer["from"], answer["body"]) == (
            "lead-agent",
            {"text": "hello asker, I am lead-agent", "rule_hops": 1},
        )
    assert served.stats()["rules"]["reply"]["runs"] == 1


def test_a_request_is_answered_by_a_program_or_with_its_error(serving, node):
    serving("lead-agent")
    asker = node()
    assert asker.request("lead-agent", {"type": "time", "text": "now"}).wait() == ["now"]
    with pytest.raises(RemoteError, match=r"ProgramFailed: ended with exit status 3: 'no such thing'"):
        asker.request("lead-agent", {"type": "broken"}).wait()
    with pytest.raises(RemoteError, match="NotAnswered: no rule answers"):
        asker.request("lead-agent", {"type": "other"}).wait()


def test_rules_are_applied_to_events(serving, node):
    serving("lead-agent")
    asker = node()
    with asker.endpoint("asker") as inbox:
        wait_until(lambda: asker.has_interest("job.7.done"))
        asker.publish("job.7.done", {"ok": True})
        assert inbox.receive(10)["body"] == {"text": "7 is done", "ok": True, "rule_hops": 1}


def test_the_file_may_name_the_endpoint_and_may_change(serving, node, tmp_path):
    served = serving(None, 'endpoint = "from-file"\n' + RULES)
    assert served.endpoint.name == "from-file"
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "new"\non = "event"\ntopic = "other"\ninbox = true\n')
    asker = node()
    # No message arrives, and the change is noticed all the same.
    wait_until(lambda: served.rules.stats()["reloads"] == 1)
    wait_until(lambda: asker.has_interest("other"))
    asker.publish("other", {"text": "x"})
    assert served.host.get(10).text == "other: x"


def test_without_a_name_or_with_a_wrong_file_no_endpoint_is_registered(node, tmp_path):
    made = node()
    with pytest.raises(ValueError, match="which endpoint"):
        serve(made, None, Rules.parse(RULES))
    (tmp_path / "rules.toml").write_text("x")
    with pytest.raises(RulesError, match=r"rules\.toml:1"):
        serve(made, "lead-agent", tmp_path / "rules.toml")
    with pytest.raises(NoSuchEndpoint):
        made.send("lead-agent", {}).wait()


def test_messages_that_have_arrived_are_handled_on_close(serving, node):
    host = Host()
    served = serving("lead-agent", host=host)
    asker = node()
    for number in range(20):
        asker.send("lead-agent", {"text": str(number)}).wait()
    served.close()
    assert len(host.poll()) == 20
    # Closing does not wait for the proxy, which may still pass on a message sent right afterwards.
    wait_until(lambda: "lead-agent" not in [each["endpoint"] for each in asker.endpoints()])
    with pytest.raises(NoSuchEndpoint):
        asker.send("lead-agent", {}).wait()
