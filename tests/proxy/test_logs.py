"""The proxy's log: how a line is written, and where it goes."""

import logging
import os
import subprocess
import sys
import tempfile
from datetime import datetime

import orjson
import pytest

from fabric.errors import ProxyError
from fabric.testing import ProxyProcess
from proxy.logs import JournalFormatter, JsonFormatter, Log, TextFormatter
from proxy.repeat_filter import BURST
from proxy.settings import ProxySettings

#: Of the tests' own: its handlers go after the test.
LOGGER = "fabric-tests.logs"


@pytest.fixture(autouse=True)
def no_handler_left():
    """Remove the handlers that a test has added."""
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
def test_a_message_cannot_forge_a_line_or_command_a_terminal(made, evil):
    line = made.format(record("topic %s", evil))
    assert line.isprintable()
    assert "\\" in line


def test_a_json_line_decodes_to_the_original_message():
    text = 'a\nb "c" \\ \x85 \u202e'
    assert orjson.loads(JsonFormatter().format(record("%s", text)))["message"] == text


def test_a_traceback_follows_its_line_and_none_of_its_lines_looks_like_one_of_the_log():
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
def test_a_fact_that_json_cannot_represent_loses_no_line(value, deep):
    found = orjson.loads(JsonFormatter().format(record("x", fact=[value] if deep else value)))
    assert found["message"] == "x"
    assert found["fact"]


def test_a_log_call_with_wrong_arguments_is_logged_with_its_template():
    assert "two %s and %s (cannot be written out: not enough arguments" in TextFormatter().format(
        record("two %s and %s", 1)
    )


# Where it goes


@pytest.fixture
def log():
    """A log of this process, closed after the test."""
    made = Log()
    yield made
    made.close()


def test_a_full_log_is_rotated_and_a_number_of_old_ones_is_kept(log, tmp_path):
    path = tmp_path / "log"
    log.to_file(path, ProxySettings(log_bytes=500, log_backups=2), in_background=False)
    for number in range(100):
        logging.getLogger(LOGGER).info("line %d", number)
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1", "log.2"}
    assert all(each.stat().st_size <= 500 for each in tmp_path.iterdir())
    assert path.read_text().rstrip().endswith("line 99")


def test_output_to_stderr_is_always_in_the_newest_file(tmp_path):
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


def test_closing_writes_the_summaries_and_restores_logging(tmp_path):
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


# Of a running proxy


def run_proxy(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "proxy", *arguments]
    return subprocess.run(
        command, cwd="/", env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )


def test_in_the_foreground_errors_are_on_stderr_too(tmp_path):
    done = run_proxy("--url", "tcp://0.0.0.0:7400", "--log-file", str(tmp_path / "log"))
    assert done.returncode == 1
    assert "can be reached from other machines" in done.stderr
    assert "can be reached from other machines" in (tmp_path / "log").read_text()


def test_a_proxy_logs_json_lines_if_the_setting_says_so():
    with ProxyProcess(log_format="json") as proxy:
        proxy.stop()
        lines = [orjson.loads(line) for line in proxy.log.splitlines()]
    assert "listening on" in lines[0]["message"]
    assert {line["level"] for line in lines} == {"info"}


def test_an_error_in_the_settings_is_logged_in_their_format():
    done = run_proxy("--log-format", "json", FABRIC_SETTLE="soon")
    assert done.returncode == 1
    assert "settle (from FABRIC_SETTLE)" in orjson.loads(done.stderr)["message"]


def test_the_log_level_suppresses_information():
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
