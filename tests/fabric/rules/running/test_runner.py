"""Real programs that hang, fail, fork and flood: each costs its own action, and nothing else. And circuit breakers."""

import threading
from time import monotonic

import orjson

from fabric.rules.reading.file import Rules
from fabric.rules.running.runner import CircuitBreaker, Runner
from fabric.testing import wait_until
from tests.fabric.rules.applied import counts, message, read_pid
from tests.processes import has_ended


def script(body, *, key="exec", more=""):
    """A rule that runs a shell script."""
    command = orjson.dumps(["/bin/sh", "-c", body]).decode()
    table = f"{{ command = {command}{more} }}" if key == "exec" else f"{{ format = {{ exec = {command}{more} }} }}"
    return f'[[rule]]\nname = "r"\n{key} = {table}\n'


def test_a_program_gets_the_message_on_stdin_and_in_its_environment(applied, tmp_path):
    names = ["ID", "TO", "FROM", "TS", "TYPE", "CHANNEL", "TEXT", "TOPIC", "RULE", "KIND", "REQUEST"]
    wanted = " ".join(f'"${{FABRIC_{name}-unset}}"' for name in names)
    applier = applied(
        script(
            f'cat > json; printf \'%s|\' {wanted} "${{FABRIC_URL-unset}}" "$MINE" > env',
            more=', environment = { MINE = "<{text}>" }',
        )
    )
    applier.apply(message("hi", type="ack", channel="c:1"))
    assert applier.wait(10)
    assert orjson.loads((tmp_path / "json").read_bytes()) == {
        **message("hi", type="ack", channel="c:1"), "request": False, "rule": "r",
    }  # fmt: skip
    assert (tmp_path / "env").read_text() == "i|lead|worker-1|0.0|ack|c:1|hi||r|message||unset|<hi>|"
    assert (counts(applier)["runs"], counts(applier)["failures"]) == (1, 0)


def test_a_program_that_hangs_is_ended_with_its_group_and_delays_nothing(applied, tmp_path):
    hang = f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait"
    applier = applied(script(hang, more=", timeout = 0.4") + "print = true\n")
    began = monotonic()
    applier.apply(message("one"))
    applier.apply(message("two"))
    wait_until(lambda: len(applied.lines) == 2)
    pid, child = (wait_until(lambda name=name: read_pid(tmp_path / name)) for name in ("pid", "child"))
    wait_until(lambda: counts(applier)["failures"] == 2)
    wait_until(lambda: has_ended(pid) and has_ended(child))
    assert monotonic() - began < 10
    assert "was ended after 0." in counts(applier)["last_error"]


def test_concurrency_and_queue_of_a_program_are_bounded(applied, tmp_path):
    gate = tmp_path / "gate"
    body = f"echo x >> {tmp_path}/begun; while ! [ -e {gate} ]; do sleep 0.01; done"
    applier = applied(script(body, more=", concurrency = 2, queue = 3"))

    def begun():
        return (tmp_path / "begun").read_text().count("x") if (tmp_path / "begun").exists() else 0

    for _ in range(2):
        applier.apply(message())
    wait_until(lambda: begun() == 2)
    for _ in range(8):
        applier.apply(message())
    assert begun() == 2
    assert counts(applier)["dropped"] == 5
    gate.touch()
    assert applier.wait(20)
    assert (begun(), counts(applier)["runs"], counts(applier)["matched"]) == (5, 5, 10)


def test_a_program_that_keeps_failing_is_skipped_for_its_cooldown(applied, tmp_path):
    now = [100.0]
    applier = applied(
        script(f"echo x >> {tmp_path}/runs; [ -e {tmp_path}/good ]", more=", max_failures = 2, cooldown = 50"),
        clock=lambda: now[0],
    )

    def run():
        applier.apply(message())
        assert applier.wait(10)
        return (tmp_path / "runs").read_text().count("x")

    assert [run(), run(), run(), run()] == [1, 2, 2, 2]
    assert (counts(applier)["suppressed"], counts(applier)["failures"]) == (2, 2)
    now[0] += 51
    (tmp_path / "good").touch()
    assert [run(), run()] == [3, 4]
    (tmp_path / "good").unlink()
    assert [run(), run(), run()] == [5, 6, 6]


def test_the_last_error_has_the_last_line_of_the_programs_errors(applied):
    applier = applied(script("echo first >&2; echo 'no such job\x1b[2J' >&2; exit 3"))
    applier.apply(message())
    assert applier.wait(10)
    assert counts(applier)["last_error"] == ("exec: /bin/sh ended with exit status 3: 'no such job\\x1b[2J'")


def test_a_program_that_was_removed_is_a_failure(applied, tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    applier = applied('[[rule]]\nname = "r"\nexec = ["./tool"]\n')
    tool.unlink()
    applier.apply(message())
    assert applier.wait(10)
    assert "cannot be run: No such file" in counts(applier)["last_error"]


def test_a_message_that_would_be_an_option_is_no_failure_of_the_program(applied, tmp_path):
    applier = applied('[[rule]]\nname = "r"\n[rule.exec]\ncommand = ["touch", "{text}"]\nmax_failures = 1\n')
    applier.apply(message("--reference=/etc/passwd"))
    applier.apply(message("file"))
    assert applier.wait(10)
    assert (tmp_path / "file").exists()
    assert counts(applier)["failures"] == 1
    assert "would be taken for an option" in counts(applier)["last_error"]


def test_a_long_message_is_whole_on_stdin_and_cut_in_the_environment(applied, tmp_path):
    applier = applied(script('wc -c < /dev/stdin > size; printf %s "$FABRIC_TEXT" | wc -c > env'))
    applier.apply(message("é" * 1_000_000))
    assert applier.wait(20)
    assert int((tmp_path / "size").read_text()) > 2_000_000
    assert int((tmp_path / "env").read_text()) == 32 * 1024


# Formats


def test_a_format_may_be_a_program_and_its_output_is_inert(applied):
    applier = applied(script('printf \'%s: %s\\n\' "$FABRIC_FROM" "$FABRIC_TEXT"', key="print"))
    applier.apply(message("a\x1b[2J\u202e{from}"))
    wait_until(lambda: applied.lines)
    assert applied.lines == ["worker-1: a\\u001b[2J\\u202e{from}\n"]


def test_a_format_that_fails_hangs_or_prints_nothing_is_replaced_by_the_default(applied):
    for body in ("exit 1", "sleep 600", "true", "echo '  '"):
        applied.lines.clear()
        applier = applied(script(body, key="print", more=", timeout = 0.3"))
        applier.apply(message("hi"))
        wait_until(lambda: applied.lines)
        assert applied.lines[0].endswith("worker-1  hi\n")
        assert counts(applier)["failures"] == 1


def test_a_format_that_hangs_delays_only_its_own_action(applied):
    applier = applied(
        script("sleep 600", key="print", more=", timeout = 30")
        + 'continue = true\n[[rule]]\nname = "other"\nprint = "{text}"\n'
    )
    applier.apply(message("a"))
    applier.apply(message("b"))
    wait_until(lambda: applied.lines == ["a\n", "b\n"])


def test_the_output_of_a_format_is_bounded(applied):
    applier = applied(script("yes", key="print", more=", timeout = 0.3"))
    applier.apply(message("hi"))
    wait_until(lambda: applied.lines)
    assert len(applied.lines[0]) < 10_000


def test_a_format_that_is_skipped_is_replaced_by_the_default_at_once(applied):
    applier = applied(script("exit 1", key="print", more=", max_failures = 1"))
    applier.apply(message("a"))
    wait_until(lambda: applied.lines)
    applier.apply(message("b"))
    wait_until(lambda: len(applied.lines) == 2)
    assert (counts(applier)["failures"], counts(applier)["suppressed"]) == (1, 1)


# The end


def test_a_program_ends_when_its_applier_is_closed(applied, tmp_path):
    applier = applied(script(f"echo $$ > {tmp_path}/pid; sleep 600"))
    applier.apply(message())
    applier.apply(message())
    pid = wait_until(lambda: read_pid(tmp_path / "pid"))
    applier.close(0.0)
    wait_until(lambda: has_ended(pid))
    assert counts(applier)["dropped"] == 1


def test_closing_waits_for_a_running_program(applied, tmp_path):
    applier = applied(
        script(f"echo $$ > {tmp_path}/pid; while ! [ -e {tmp_path}/gate ]; do sleep 0.01; done; touch {tmp_path}/done")
    )
    applier.apply(message())
    wait_until(lambda: read_pid(tmp_path / "pid"))
    threading.Timer(0.1, (tmp_path / "gate").touch).start()
    applier.close(10.0)
    assert (tmp_path / "done").exists()


def test_jobs_of_a_rule_that_was_changed_run_with_its_old_definition(applied, tmp_path):
    path = tmp_path / "rules.toml"
    gate = f"while ! [ -e {tmp_path}/gate ]; do sleep 0.01; done; echo $FABRIC_TEXT"
    applier = applied(script(f"{gate} >> {tmp_path}/old"))
    applier.apply(message("a"))
    applier.apply(message("b"))
    path.write_text(script(f"echo $FABRIC_TEXT >> {tmp_path}/new"))
    applier.look()
    applier.apply(message("c"))
    wait_until(lambda: (tmp_path / "new").exists() and (tmp_path / "new").read_text() == "c\n")
    (tmp_path / "gate").touch()
    assert applier.wait(10)
    assert (tmp_path / "old").read_text() == "a\nb\n"
    assert counts(applier)["runs"] == 3


def test_a_job_that_waits_while_its_rule_changes_leaves_the_new_pool_in_place():
    def planned(program):
        (found,) = Rules.parse(f'[[rule]]\nname = "r"\nexec = ["{program}"]\n').decide({})
        return found

    old, new = planned("true"), planned("false")
    runner = Runner(Rules.parse('[[rule]]\nname = "r"\nexec = ["false"]\n'), None)
    runs, gate = [], threading.Event()
    run = runner.begin(old)
    run.put(lambda: gate.wait(10))
    run.put(lambda: runs.append(run.run(old.action.command, b"").status))
    state = runner.state_of(new)
    gate.set()
    wait_until(lambda: runs == [0])
    assert runner.state_of(new) is state
    runner.close()
    assert all(pool.join(monotonic() + 10) for pool in runner.pools())


# Circuit breakers


def test_a_breaker_opens_after_the_maximum_of_consecutive_failures():
    breaker = CircuitBreaker(3, 10.0)
    assert [breaker.failed(1.0), breaker.failed(2.0), breaker.is_open(2.0)] == [False, False, False]
    assert breaker.failed(3.0)
    assert [breaker.is_open(now) for now in (3.0, 12.9, 13.0)] == [True, True, False]


def test_a_success_resets_the_failures():
    breaker = CircuitBreaker(2, 10.0)
    breaker.failed(1.0)
    breaker.succeeded()
    assert not breaker.failed(2.0)
    assert not breaker.is_open(2.0)


def test_after_the_cooldown_one_failure_opens_it_again():
    breaker = CircuitBreaker(3, 10.0)
    for now in (1.0, 2.0, 3.0):
        breaker.failed(now)
    assert breaker.failed(14.0)
    assert breaker.is_open(20.0)


def test_a_breaker_without_a_cooldown_never_opens():
    breaker = CircuitBreaker(1, 0.0)
    assert not breaker.failed(1.0)
    assert not breaker.is_open(1.0)
