"""The proxy's log: how a line is written, where it goes, and what is said only once."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
from datetime import datetime

import orjson
import pytest

from fabric.errors import ProxyError
from fabric.testing import ProxyProcess, wait_until
from proxy.logs import BURST, MAX_KINDS, JournalFormatter, JsonFormatter, Log, RepeatFilter, TextFormatter, escaped
from proxy.settings import ProxySettings

#: Of the tests' own: its handlers go after the test.
LOGGER = "fabric-tests.logs"


@pytest.fixture(autouse=True)
def no_handler_left():
    """A handler that a test has added is taken away again."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


def record(message, *arguments, level=logging.WARNING, **extra):
    made = logging.LogRecord("fabric.proxy", level, __file__, 1, message, arguments, None)
    vars(made).update(extra)
    return made


def failed(text):
    """A record of an exception with that text."""
    try:
        raise RuntimeError(text)
    except RuntimeError:
        return record("it failed", exc_info=sys.exc_info())


# How a line is written


def test_text_is_a_line_with_time_and_level():
    line = TextFormatter().format(record("listening on %s", "ipc:///x", level=logging.INFO))
    time, level, message = line[:23], line[24:31], line[32:]
    datetime.strptime(time, "%Y-%m-%d %H:%M:%S,%f")
    assert (level, message) == ("INFO   ", "listening on ipc:///x")


def test_json_is_one_object_with_time_level_logger_message_and_the_facts():
    line = JsonFormatter().format(record("%d left", 3, level=logging.ERROR, nodes=3, names=("a", b"b"), ts="not this"))
    found = orjson.loads(line)
    assert datetime.fromisoformat(found.pop("ts")).utcoffset().total_seconds() == 0
    assert found == {
        "level": "error", "logger": "fabric.proxy", "message": "3 left", "nodes": 3, "names": ["a", "b'b'"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "made", [TextFormatter(), JsonFormatter(), JournalFormatter()], ids=lambda made: type(made).__name__
)
@pytest.mark.parametrize("evil", ["a\nERROR b", "\r", "\x1b[2J", "\x85", "\u2028", "\u202e", "\x00", "\ud800", "\x7f"])
def test_nobody_can_forge_a_line_or_command_a_terminal(made, evil):
    line = made.format(record("topic %s", evil))
    assert line.isprintable()
    assert "\\" in line


@pytest.mark.parametrize("text", ["plain", "Größe 5 µm", "日本語", "\U0001f600"])
def test_what_is_visible_stays_as_it_is(text):
    assert escaped(text) == text


def test_what_is_not_visible_is_escaped_as_in_json():
    text = "a\n\x1b\u202e\U000e0001"
    assert orjson.loads(f'"{escaped(text)}"') == text


def test_a_json_line_says_what_was_said():
    text = 'a\nb "c" \\ \x85 \u202e'
    assert orjson.loads(JsonFormatter().format(record("%s", text)))["message"] == text


def test_a_traceback_is_below_its_line_and_none_of_its_lines_can_pass_for_one_of_the_log():
    head, *rest = TextFormatter().format(failed("first\n2026-01-01 00:00:00,000 ERROR second\x1b")).split("\n")
    assert head.endswith("it failed")
    assert rest[-1] == "    2026-01-01 00:00:00,000 ERROR second\\u001b"
    assert all(line.startswith("    ") for line in rest)


def test_a_traceback_is_a_key_of_a_json_line():
    found = orjson.loads(JsonFormatter().format(failed("first\nsecond")))
    assert found["exception"].endswith("RuntimeError: first\nsecond")


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 3)],
)
def test_the_journal_gets_the_level_as_a_priority_and_no_time(level, priority):
    assert JournalFormatter().format(record("hello", level=level)) == f"<{priority}>hello"


def test_the_journal_gets_the_priority_before_each_line_of_a_traceback():
    lines = JournalFormatter().format(failed("x")).split("\n")
    assert len(lines) > 2
    assert all(line.startswith("<4>") for line in lines)


@pytest.mark.parametrize("value", [2**70, "\ud800", {1: {2: "x"}}, object()])
@pytest.mark.parametrize("deep", [False, True])
def test_a_fact_that_is_no_json_costs_no_line(value, deep):
    found = orjson.loads(JsonFormatter().format(record("x", fact=[value] if deep else value)))
    assert found["message"] == "x"
    assert found["fact"]


def test_a_wrong_log_call_is_logged_as_far_as_it_goes():
    assert "two %s and %s (cannot be written out: not enough arguments" in TextFormatter().format(
        record("two %s and %s", 1)
    )


# What is said again and again


class Collected(logging.Handler):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture
def limited():
    """A logger whose repeated lines are left out, its collected lines, and a clock to be set."""
    handler, now = Collected(), [1_000.0]
    repeats = RepeatFilter(handler, burst=2, interval=60.0, clock=lambda: now[0])
    handler.addFilter(repeats)
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    yield logger, handler.lines, now
    repeats.close()


def test_so_many_of_a_kind_pass_and_the_rest_is_told_at_the_next_line_after_the_interval(limited):
    logger, lines, now = limited
    for number in range(10):
        logger.warning("hook %d failed", number)
    assert lines == ["hook 0 failed", "hook 1 failed"]
    now[0] += 60.0
    logger.error("something else")
    assert lines[2:] == ["… and 8 more like it in the last 60 s, the last one: hook 9 failed", "something else"]


def test_after_the_interval_a_kind_begins_anew(limited):
    logger, lines, now = limited
    for _ in range(3):
        logger.warning("again")
    now[0] += 61.0
    for _ in range(3):
        logger.warning("again")
    told = "… and 1 more like it in the last 61 s, the last one: again"
    assert lines == ["again", "again", told, "again", "again"]


def test_nothing_is_told_of_what_was_not_left_out(limited):
    logger, lines, now = limited
    logger.warning("once")
    now[0] += 61.0
    logger.warning("other")
    assert lines == ["once", "other"]


def test_kinds_are_told_apart_by_logger_level_and_template_only(limited):
    logger, lines, _ = limited
    other = logging.getLogger(f"{LOGGER}.other")
    for number in range(3):
        logger.warning("a %d", number)
        logger.error("a %d", number)
        logger.warning("b %d", number)
        other.warning("a %d", number)
    assert len(lines) == 4 * 2


def test_what_is_no_fault_always_passes(limited):
    logger, lines, _ = limited
    for _ in range(100):
        logger.info("a message")
    assert len(lines) == 100


def test_at_the_end_what_was_left_out_is_told(limited):
    logger, lines, now = limited
    for _ in range(5):
        logger.warning("again")
    now[0] += 12.0
    logger.handlers[0].filters[0].close()
    assert lines[2:] == ["… and 3 more like it in the last 12 s, the last one: again"]


def test_it_is_told_when_the_interval_is_over_though_nothing_else_happens():
    handler, now = Collected(), [0.0]
    handler.addFilter(repeats := RepeatFilter(handler, burst=1, interval=0.05, clock=lambda: now[0]))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    for _ in range(4):
        logger.warning("again")
    now[0] = 1.0
    wait_until(lambda: "… and 3 more like it in the last 1 s, the last one: again" in handler.lines)
    repeats.close()


def test_however_many_kinds_there_are_only_so_many_are_remembered(limited):
    logger, lines, _ = limited
    for number in range(MAX_KINDS + 100):
        logger.warning(f"dynamic {number}")  # noqa: G004 - that is the mistake
    assert len(lines) == MAX_KINDS + 100
    assert len(logger.handlers[0].filters[0]._kinds) == MAX_KINDS


def test_every_line_is_either_written_or_counted_from_however_many_threads():
    handler = Collected()
    handler.addFilter(repeats := RepeatFilter(handler, burst=5))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    threads = [
        threading.Thread(target=lambda: [logger.warning("again") for _ in range(500)], name=f"fabric-test-{number}")
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repeats.close()
    assert handler.lines.count("again") == 5
    assert handler.lines[-1].startswith("… and 1995 more")


# Where it goes


@pytest.fixture
def log():
    """A log of this process, closed after the test."""
    made = Log()
    yield made
    made.close()


def test_a_full_log_is_put_aside_and_so_many_old_ones_are_kept(log, tmp_path):
    path = tmp_path / "log"
    log.to_file(path, ProxySettings(log_bytes=500, log_backups=2), in_background=False)
    for number in range(100):
        logging.getLogger(LOGGER).info("line %d", number)
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1", "log.2"}
    assert all(each.stat().st_size <= 500 for each in tmp_path.iterdir())
    assert path.read_text().rstrip().endswith("line 99")


def test_what_is_written_past_the_log_is_always_in_its_newest_file(tmp_path):
    script = (
        "import logging, os, sys; from pathlib import Path; from proxy.logs import Log;"
        "from proxy.settings import ProxySettings;"
        "Log().to_file(Path(sys.argv[1]), ProxySettings(log_bytes=300, log_backups=1), in_background=True);"
        "[logging.info('line %d', n) for n in range(50)]; os.write(2, b'abort\\n')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], check=True)
    assert (tmp_path / "log").read_text().endswith("abort\n")
    assert (tmp_path / "log.1").exists()


def test_a_file_that_cannot_be_written_is_a_proxy_error(log, tmp_path):
    with pytest.raises(ProxyError, match=f"cannot write the log {tmp_path}: Is a directory"):
        log.to_file(tmp_path, ProxySettings(), in_background=False)


def test_the_level_says_what_is_logged(log, tmp_path):
    path = tmp_path / "log"
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)
    log.to_file(path, ProxySettings(log_level="warning"), in_background=False)
    logging.getLogger(LOGGER).info("no")
    logging.getLogger(LOGGER).warning("yes")
    assert [line[-3:] for line in path.read_text().splitlines()] == ["yes"]


def test_closing_it_tells_what_was_left_out_and_leaves_logging_as_it_was(tmp_path):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log = Log()
    log.to_stderr(level="debug")
    log.to_file(tmp_path / "log", ProxySettings(log_format="json"), in_background=False)
    for _ in range(BURST + 7):
        logging.getLogger(LOGGER).warning("again")
    log.close()
    last = orjson.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert (last["level"], last["logger"], last["repeated"]) == ("warning", LOGGER, 7)
    assert (root.handlers, root.level) == before


# A proxy's


def run_proxy(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "proxy", *arguments]
    return subprocess.run(
        command, cwd="/", env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )


def test_in_the_foreground_what_is_wrong_is_on_stderr_too(tmp_path):
    done = run_proxy("--url", "tcp://0.0.0.0:7400", "--log-file", str(tmp_path / "log"))
    assert done.returncode == 1
    assert "can be reached from other machines" in done.stderr
    assert "can be reached from other machines" in (tmp_path / "log").read_text()


def test_a_proxy_that_is_told_so_logs_json_lines():
    with ProxyProcess(log_format="json") as proxy:
        proxy.stop()
        lines = [orjson.loads(line) for line in proxy.log.splitlines()]
    assert "listening on" in lines[0]["message"]
    assert {line["level"] for line in lines} == {"info"}


def test_what_is_wrong_with_its_settings_is_logged_as_they_say():
    done = run_proxy("--log-format", "json", FABRIC_SETTLE="soon")
    assert done.returncode == 1
    assert "settle (from FABRIC_SETTLE)" in orjson.loads(done.stderr)["message"]


def test_a_proxy_can_be_told_to_say_less():
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        done = run_proxy("--idle-exit", "0.01", "--log-level", "warning", "--url", f"ipc://{directory}/proxy")
    assert (done.returncode, done.stderr) == (0, "")


def test_where_systemd_reads_stderr_lines_have_priorities():
    read, write = os.pipe()
    facts = os.fstat(write)
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "proxy", "--url", "tcp://0.0.0.0:7400"],
            env=os.environ | {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"},
            stderr=write, cwd="/", check=False,
        )  # fmt: skip
        said = os.read(read, 65_536).decode()
    finally:
        os.close(read)
        os.close(write)
    assert said.startswith("<3>tcp://0.0.0.0:7400 can be reached")


def test_another_stream_than_stderr_is_not_the_journal():
    assert " ERROR " in run_proxy("--url", "tcp://0.0.0.0:7400", JOURNAL_STREAM="1:1").stderr
