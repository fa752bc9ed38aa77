"""Programs that do everything a program should not."""

import os
import signal
import sys
import threading
from time import monotonic

import orjson
import pytest

from fabric.system import run_program
from fabric.system.run_program import MAX_VALUE, answer_of, environment, run
from fabric.testing import wait_until
from tests.processes import children_of, has_ended


def shell(script, data=b"", *, timeout=10.0, limit=100_000, **options):
    return run(["/bin/sh", "-c", script], data, dict(os.environb), timeout=timeout, limit=limit, **options)


def python(script, *arguments, **options):
    return run([sys.executable, "-c", script, *arguments], b"", dict(os.environb), limit=10_000, **options)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(run_program, "GRACE", 0.3)


def test_a_program_gets_its_input_and_its_output_and_errors_are_kept_apart():
    ran = shell("cat; echo bad >&2; exit 3", b"hello")
    assert (ran.output, ran.errors, ran.status, ran.timed_out) == (b"hello", b"bad\n", 3, False)
    assert ran.problem == "ended with exit status 3"


def test_a_signal_handler_that_raises_at_any_point_leaves_no_program():
    class Interrupted(BaseException):
        pass

    def interrupt(_number, _frame):
        raise Interrupted

    def run_interrupted(delay):
        signal.setitimer(signal.ITIMER_REAL, delay)
        run(["/bin/sleep", "600"], b"", dict(os.environb), limit=0)

    others = set(children_of(os.getpid()))
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in range(1, 80, 4):
            with pytest.raises(Interrupted):
                run_interrupted(delay / 10_000)
            wait_until(lambda: set(children_of(os.getpid())) <= others, what="the program ends")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_input_larger_than_any_pipe_goes_through_while_output_comes_back():
    data = os.urandom(1024 * 1024)
    assert shell("cat", data, limit=len(data)).output == data


def test_a_program_that_never_reads_its_input_is_none_the_worse_for_it():
    assert shell("exit 0", b"x" * 1_000_000).problem == ""


def test_a_program_that_prints_without_end_costs_no_memory_and_is_ended():
    ran = shell("yes", timeout=0.5, limit=1_000)
    assert (len(ran.output), ran.cut, ran.timed_out) == (1_000, True, True)
    assert ran.seconds < 5


def test_what_is_over_the_limit_is_read_and_forgotten_so_that_the_program_can_end():
    ran = shell("head -c 5000000 /dev/zero; echo end >&2", limit=100)
    assert (ran.output, ran.cut, ran.errors, ran.problem) == (b"\0" * 100, True, b"end\n", "")


def test_a_program_that_hangs_is_ended_and_so_are_its_children(tmp_path):
    ran = shell(f"sleep 600 & echo $! > {tmp_path}/pid; wait", timeout=0.3)
    assert ran.timed_out
    assert ran.problem.startswith("was ended after 0.")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def test_one_that_ignores_being_asked_is_killed():
    ran = python("import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", timeout=0.5)
    assert ran.status == -9
    assert ran.seconds < 5


def test_one_that_listens_when_asked_to_end_may_say_a_last_word():
    ran = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done", timeout=0.3)
    assert (ran.output, ran.timed_out) == (b"ready\nbye\n", True)


def test_what_it_leaves_in_its_group_ends_with_it_and_is_not_waited_for(tmp_path):
    began = monotonic()
    ran = shell(f"sleep 600 & echo $! > {tmp_path}/pid; echo done")
    assert (ran.output, ran.problem) == (b"done\n", "")
    assert monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def test_somebody_in_another_session_who_keeps_its_output_open_is_not_waited_for(tmp_path):
    script = "import subprocess,sys; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    ran = python(script, timeout=10.0)
    os.kill(int(ran.output), 9)
    assert ran.seconds < 5


def test_a_program_that_closes_everything_and_goes_on_is_still_waited_for():
    ran = shell("exec 0<&- 1>&- 2>&-; sleep 0.3; exit 4")
    assert (ran.status, ran.seconds >= 0.3) == (4, True)


def test_without_a_descriptor_for_its_end_it_is_noticed_all_the_same(monkeypatch):
    monkeypatch.setattr(run_program, "_watch", lambda pid: None)
    assert shell("cat; sleep 0.05; exit 5", b"in").status == 5


def test_it_ends_when_it_is_cancelled():
    enough = threading.Event()
    threading.Timer(0.1, enough.set).start()
    ran = shell("sleep 600", timeout=None, cancelled=enough.is_set)
    assert ran.timed_out
    assert ran.seconds < 5


def test_what_killed_it_is_named():
    assert shell("kill -SEGV $$").problem == "was killed by SIGSEGV"


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        run(["/nonexistent"], b"", {}, limit=10)


def test_no_descriptor_and_no_process_is_left():
    before = len(os.listdir("/proc/self/fd"))
    for script in ("exit 0", "cat", "exit 1"):
        shell(script, b"x")
    assert len(os.listdir("/proc/self/fd")) == before


# The environment

MESSAGE = {"type": "message", "id": "i-1", "to": "worker", "from": "lead", "ts": 1.5, "holders": 2, "request": True}


def test_the_facts_of_a_message_are_in_the_environment():
    found = environment({**MESSAGE, "body": {"text": "hé", "type": "ack", "channel": "c:1"}}, "ipc:///run/x")
    facts = {
        name: found[f"FABRIC_{name}".encode()].decode() for name in ("ID", "TO", "FROM", "TS", "HOLDERS", "REQUEST")
    }
    assert facts == {"ID": "i-1", "TO": "worker", "FROM": "lead", "TS": "1.5", "HOLDERS": "2", "REQUEST": "1"}
    assert [found[f"FABRIC_{name}".encode()] for name in ("TEXT", "TYPE", "CHANNEL", "URL")] == [
        "hé".encode(), b"ack", b"c:1", b"ipc:///run/x",
    ]  # fmt: skip
    assert found[b"PATH"] == os.environb[b"PATH"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a\0b", b"ab"),
        ("x" * (MAX_VALUE + 1), b"x" * MAX_VALUE),
        ("é" * MAX_VALUE, "é".encode() * (MAX_VALUE // 2)),
        (None, b""),
        (7, b"7"),
        ({"a": 1}, b'{"a":1}'),
        (True, b"1"),
        ("\ud800", b"?"),
        (2**70, b""),
    ],
)
def test_whatever_a_body_says_it_is_a_value_that_execve_takes(text, value):
    found = environment({**MESSAGE, "body": {"text": text}}, "u")
    assert found[b"FABRIC_TEXT"] == value
    run(["/bin/true"], b"", found, limit=0)


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_a_body_that_is_no_object_has_no_text(body):
    assert environment({**MESSAGE, "body": body}, "u")[b"FABRIC_TEXT"] == b""


def test_what_was_in_our_environment_does_not_pass_for_a_message(monkeypatch):
    monkeypatch.setenv("FABRIC_TEXT", "mine")
    assert environment({**MESSAGE, "body": {}}, "u")[b"FABRIC_TEXT"] == b""


def test_messages_are_json_for_whoever_reads_stdin():
    assert orjson.loads(shell("cat", orjson.dumps(MESSAGE)).output) == MESSAGE


def test_more_facts_may_be_told_and_come_before_the_messages():
    found = environment({**MESSAGE, "body": {"type": "ack"}}, "u", {"type": "other", "rule": "r"})
    assert (found[b"FABRIC_TYPE"], found[b"FABRIC_RULE"]) == (b"other", b"r")


@pytest.mark.parametrize(
    ("output", "answer"),
    [(b'{"a": 1}', {"a": 1}), (b"7\n", 7), (b"a\nb\n", "a\nb"), (b" \n", None), (b"\xff", "\ufffd")],
)
def test_an_answer_is_json_if_it_is_that_else_text(output, answer):
    assert answer_of(output) == answer
