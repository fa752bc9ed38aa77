"""Real programs that hang, fail, fork and flood: each costs its own action, and nothing else."""

import threading
from time import monotonic

import orjson

from fabric.rules.running import runner
from fabric.testing import wait_until
from tests.fabric.rules.applied import counts, message, read_pid
from tests.processes import has_ended


def script(body, *, key="exec", more=""):
    """A rule that runs a shell script."""
    command = orjson.dumps(["/bin/sh", "-c", body]).decode()
    table = f"{{ command = {command}{more} }}" if key == "exec" else f"{{ format = {{ exec = {command}{more} }} }}"
    return f'[[rule]]\nname = "r"\n{key} = {table}\n'


def test_a_program_gets_the_message_on_stdin_and_its_facts_in_the_environment(applied, tmp_path):
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


def test_a_program_that_hangs_ends_with_its_group_and_holds_nothing_up(applied, tmp_path):
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


def test_at_most_so_many_run_at_once_and_what_is_too_much_is_dropped(applied, tmp_path):
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


def test_a_program_that_fails_again_and_again_rests_and_is_tried_again(applied, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(runner, "monotonic", lambda: now[0])
    applier = applied(
        script(f"echo x >> {tmp_path}/runs; [ -e {tmp_path}/good ]", more=", max_failures = 2, cooldown = 50")
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


def test_what_is_wrong_with_a_program_is_counted_with_the_last_that_it_said(applied):
    applier = applied(script("echo first >&2; echo 'no such job\x1b[2J' >&2; exit 3"))
    applier.apply(message())
    assert applier.wait(10)
    assert counts(applier)["last_error"] == ("exec: /bin/sh ended with exit status 3: 'no such job\\x1b[2J'")


def test_a_program_that_is_gone_when_it_is_needed_is_a_failure(applied, tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    applier = applied('[[rule]]\nname = "r"\nexec = ["./tool"]\n')
    tool.unlink()
    applier.apply(message())
    assert applier.wait(10)
    assert "cannot be run: No such file" in counts(applier)["last_error"]


def test_a_message_that_would_be_an_option_is_not_run_and_does_not_make_the_program_rest(applied, tmp_path):
    applier = applied('[[rule]]\nname = "r"\n[rule.exec]\ncommand = ["touch", "{text}"]\nmax_failures = 1\n')
    applier.apply(message("--reference=/etc/passwd"))
    applier.apply(message("file"))
    assert applier.wait(10)
    assert (tmp_path / "file").exists()
    assert counts(applier)["failures"] == 1
    assert "would be taken for an option" in counts(applier)["last_error"]


def test_a_megabyte_is_on_stdin_and_the_environment_stays_bounded(applied, tmp_path):
    applier = applied(script('wc -c < /dev/stdin > size; printf %s "$FABRIC_TEXT" | wc -c > env'))
    applier.apply(message("é" * 1_000_000))
    assert applier.wait(20)
    assert int((tmp_path / "size").read_text()) > 2_000_000
    assert int((tmp_path / "env").read_text()) == 32 * 1024


# Formats


def test_a_format_may_be_a_program_and_what_it_prints_is_inert(applied):
    applier = applied(script('printf \'%s: %s\\n\' "$FABRIC_FROM" "$FABRIC_TEXT"', key="print"))
    applier.apply(message("a\x1b[2J\u202e{from}"))
    wait_until(lambda: applied.lines)
    assert applied.lines == ["worker-1: a\\u001b[2J\\u202e{from}\n"]


def test_a_format_that_fails_hangs_or_says_nothing_gives_way_to_the_default(applied):
    for body in ("exit 1", "sleep 600", "true", "echo '  '"):
        applied.lines.clear()
        applier = applied(script(body, key="print", more=", timeout = 0.3"))
        applier.apply(message("hi"))
        wait_until(lambda: applied.lines)
        assert applied.lines[0].endswith("worker-1  hi\n")
        assert counts(applier)["failures"] == 1


def test_a_format_that_hangs_holds_up_only_its_own_action(applied):
    applier = applied(
        script("sleep 600", key="print", more=", timeout = 30")
        + 'continue = true\n[[rule]]\nname = "other"\nprint = "{text}"\n'
    )
    applier.apply(message("a"))
    applier.apply(message("b"))
    wait_until(lambda: applied.lines == ["a\n", "b\n"])


def test_a_format_that_floods_is_bounded(applied):
    applier = applied(script("yes", key="print", more=", timeout = 0.3"))
    applier.apply(message("hi"))
    wait_until(lambda: applied.lines)
    assert len(applied.lines[0]) < 10_000


def test_a_format_that_rests_is_the_default_at_once(applied):
    applier = applied(script("exit 1", key="print", more=", max_failures = 1"))
    applier.apply(message("a"))
    wait_until(lambda: applied.lines)
    applier.apply(message("b"))
    wait_until(lambda: len(applied.lines) == 2)
    assert (counts(applier)["failures"], counts(applier)["suppressed"]) == (1, 1)


# The end


def test_a_program_ends_with_its_applier(applied, tmp_path):
    applier = applied(script(f"echo $$ > {tmp_path}/pid; sleep 600"))
    applier.apply(message())
    applier.apply(message())
    pid = wait_until(lambda: read_pid(tmp_path / "pid"))
    applier.close(0.0)
    wait_until(lambda: has_ended(pid))
    assert counts(applier)["dropped"] == 1


def test_closing_waits_for_what_is_nearly_done(applied, tmp_path):
    applier = applied(
        script(f"echo $$ > {tmp_path}/pid; while ! [ -e {tmp_path}/gate ]; do sleep 0.01; done; touch {tmp_path}/done")
    )
    applier.apply(message())
    wait_until(lambda: read_pid(tmp_path / "pid"))
    threading.Timer(0.1, (tmp_path / "gate").touch).start()
    applier.close(10.0)
    assert (tmp_path / "done").exists()


def test_a_rule_that_is_changed_finishes_what_it_had_begun_as_it_was_meant(applied, tmp_path):
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
