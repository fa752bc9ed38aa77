"""Hooks: the input of their programs, the counts, the limits; and that nothing waits for them."""

import os
from time import monotonic

import orjson
import pytest

from fabric.testing import ProxyProcess, wait_until
from proxy.messages.hooks import Hooks
from proxy.messages.routing import Routed
from tests.processes import has_ended

# Running, in this process


@pytest.fixture
def run_hooks():
    """A function that starts hooks; stopped after the test."""
    started = []

    def start(*argv, timeout=10.0, concurrency=2, queue=100, **limits):
        hooks = Hooks(argv, url="ipc:///run/x", timeout=timeout, concurrency=concurrency, queue=queue, **limits)
        hooks.start()
        started.append(hooks)
        return hooks

    yield start
    for each in started:
        each.stop()


def routed(id="i-1", *, to="worker", sender="lead", meta=b'{"ts":1.5}', body=b'{"text":"hi"}', holders=1):
    return Routed(id.encode(), to.encode(), sender.encode(), meta, body, holders)


def ended(hooks, **counts):
    wait_until(lambda: all(hooks.stats()[name] == count for name, count in counts.items()), what=f"{counts}")


def test_a_hook_gets_the_message_on_stdin_and_its_facts_in_the_environment(program, run_hooks, tmp_path):
    hooks = run_hooks((program(f'cat > {tmp_path}/in; echo "$1 $FABRIC_FROM $FABRIC_URL" > {tmp_path}/env'), "one"))
    hooks.put(routed(meta=b'{"ts":1.5,"request":true}', holders=3))
    ended(hooks, done=1, running=0, queued=0)
    assert orjson.loads((tmp_path / "in").read_bytes()) == {
        "type": "message", "id": "i-1", "to": "worker", "from": "lead", "ts": 1.5,
        "holders": 3, "request": True, "body": {"text": "hi"},
    }  # fmt: skip
    assert (tmp_path / "env").read_text() == "one lead ipc:///run/x\n"


def test_a_body_nested_too_deeply_to_be_encoded_arrives_unchanged(program, run_hooks, tmp_path):
    body = b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"
    hooks = run_hooks((program(f"cat > {tmp_path}/in"),))
    hooks.put(routed(body=body))
    ended(hooks, done=1)
    assert body in (tmp_path / "in").read_bytes()


@pytest.mark.parametrize(("meta", "body"), [(b"{}", b"no json"), (b"[]", b"{}"), (b"junk", b"{}"), (b"{}", b"")])
def test_a_malformed_message_is_counted_as_failed_and_runs_nothing(meta, body, program, run_hooks, tmp_path):
    hooks = run_hooks((program(f"touch {tmp_path}/ran"),))
    hooks.put(routed(meta=meta, body=body))
    ended(hooks, failed=1)
    assert not (tmp_path / "ran").exists()


def test_a_message_that_is_repeated_runs_a_hook_once(program, run_hooks):
    hooks = run_hooks((program(""),))
    for each in (routed("a"), routed("a"), routed("b"), routed("a", to="other"), routed("a", sender="other")):
        hooks.put(each)
    ended(hooks, done=4, repeated=1)


def test_only_the_last_ids_are_remembered(program, run_hooks):
    hooks = run_hooks((program("sleep 60"),), concurrency=1, queue=1, max_ids=10)
    for number in (*range(100), 99, 90):
        hooks.put(routed(str(number)))
    assert hooks.stats()["repeated"] == 2
    hooks.put(routed("89"))
    assert hooks.stats()["repeated"] == 2


def test_failing_and_missing_hooks_are_counted_and_logged_and_the_next_message_runs_them(program, run_hooks, caplog):
    bad, gone = program("echo 'oh\x1b[2J' >&2; exit 3"), program("")
    os.remove(gone)
    hooks = run_hooks((bad,), (gone,))
    hooks.put(routed("a"))
    hooks.put(routed("b"))
    ended(hooks, failed=4)
    assert "ended with exit status 3 on message 'a'; it said 'oh\\x1b[2J'" in caplog.text
    assert f"the hook {gone} cannot be run: No such file or directory" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_hook_that_hangs_blocks_only_itself_and_ends_at_its_timeout(program, run_hooks):
    hooks = run_hooks((program("sleep 600"),), (program(""),), timeout=0.4, concurrency=1)
    for number in range(3):
        hooks.put(routed(str(number)))
    ended(hooks, done=3)
    assert hooks.stats()["timed_out"] < 3
    ended(hooks, timed_out=3)


def test_at_most_concurrency_programs_run_at_a_time(program, run_hooks, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hooks = run_hooks((program(f"touch {tmp_path}/run.$FABRIC_ID; read x < {gate}"),), concurrency=3)
    for number in range(10):
        hooks.put(routed(str(number)))
    ended(hooks, running=3, queued=7)
    assert len(list(tmp_path.glob("run.*"))) <= 3


def test_when_the_queue_is_full_the_oldest_message_is_dropped_and_counted(program, run_hooks, tmp_path):
    gate = tmp_path / "gate"
    hooks = run_hooks(
        (program(f"echo $FABRIC_ID >> {tmp_path}/ids; while ! [ -e {gate} ]; do sleep 0.01; done"),),
        concurrency=1, queue=3,
    )  # fmt: skip
    hooks.put(routed("first"))
    ended(hooks, running=1)
    for number in range(10):
        hooks.put(routed(str(number)))
    assert hooks.stats()["dropped"] == 7
    gate.touch()
    ended(hooks, done=4)
    assert (tmp_path / "ids").read_text().split() == ["first", "7", "8", "9"]


def test_large_messages_that_wait_are_bounded_by_their_bytes(program, run_hooks):
    hooks = run_hooks((program("sleep 60"),), concurrency=1, max_queued_bytes=1_000)
    hooks.put(routed("first"))
    ended(hooks, running=1)
    for number in range(10):
        hooks.put(routed(str(number), body=b'"%s"' % (b"x" * 300)))
    assert hooks.stats()["queued"] == 3
    assert hooks.stats()["dropped"] == 7


def test_putting_takes_no_time_while_the_hooks_hang(program, run_hooks):
    hooks = run_hooks((program("sleep 60"),), queue=1_000)
    began = monotonic()
    for number in range(10_000):
        hooks.put(routed(str(number)))
    assert (monotonic() - began) / 10_000 < 0.0002


def test_stopping_ends_running_programs_and_drops_queued_messages(program, run_hooks, tmp_path):
    hooks = run_hooks((program(f"echo $$ > {tmp_path}/pid; sleep 600"),), concurrency=1, timeout=600)
    hooks.put(routed("a"))
    hooks.put(routed("b"))
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    began = monotonic()
    hooks.stop()
    assert monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid), what="the hook ends")
    assert hooks.stats() == dict(hooks.stats(), timed_out=1, dropped=1, running=0, queued=0)


# With a real proxy


def messages_of(log):
    return [orjson.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_proxy_runs_its_hooks_for_messages_requests_and_broadcasts(program, fabric_node, tmp_path):
    log = tmp_path / "log"
    hook = program(f'line=$(cat); echo "$line" >> {log}')
    with ProxyProcess(hooks=hook, hook_concurrency=1) as proxy:
        node = fabric_node("app", url=proxy.url)
        with fabric_node("other", url=proxy.url) as other:
            node.endpoint("worker", lambda message: "answer").wait_ready()
            assert other.send("worker", {"text": "one"}, type="ack", channel="c").wait() == 1
            assert other.request("worker", {"text": "two"}).wait() == "answer"
            assert other.send("*", {"text": "three"}).wait() == 1
        wait_until(lambda: len(messages_of(log)) == 3)
        seen = [(each["to"], each["body"]["text"], each["request"], each["holders"]) for each in messages_of(log)]
        assert seen == [("worker", "one", False, 1), ("worker", "two", True, 1), ("*", "three", False, 1)]
        assert messages_of(log)[0]["from"] == "anonymous:other"
        node.close()


def test_a_hook_that_hangs_delays_no_message(program, fabric_node):
    with ProxyProcess(hooks=program("sleep 600"), hook_concurrency=8) as proxy:
        with fabric_node("app", url=proxy.url) as node:
            inbox = node.endpoint("worker")
            inbox.wait_ready()
            began = monotonic()
            for number in range(300):
                node.send("worker", {"n": number}).wait()
            assert (monotonic() - began) / 300 < 0.05
            assert len(inbox.poll()) == 300
        began = monotonic()
        assert proxy.stop() == 0
        assert monotonic() - began < 5


def test_a_proxy_does_not_start_with_a_hook_that_cannot_run():
    proxy = ProxyProcess(hooks="/nonexistent/hook")
    try:
        with pytest.raises(
            RuntimeError, match=r"hooks \(from FABRIC_HOOKS\): hook 1: there is no file /nonexistent/hook"
        ):
            proxy.start()
    finally:
        proxy.close()
