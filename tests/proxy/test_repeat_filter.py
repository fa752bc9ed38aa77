"""Warnings of one kind: which are written, and how the rest is summed up."""

import logging
import threading

import pytest

from fabric.testing import wait_until
from proxy.repeat_filter import RepeatFilter

#: A logger of these tests only; its handlers are removed after each test.
LOGGER = "fabric-tests.repeats"


class Collected(logging.Handler):
    """Keeps the messages of its records."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Limited:
    """A logger behind a filter, the lines that pass, and a clock that the test sets."""

    def __init__(self, **options):
        self.now = 1_000.0
        handler = Collected()
        self.lines = handler.lines
        self.filter = RepeatFilter(handler, **{"clock": lambda: self.now, **options})
        handler.addFilter(self.filter)
        self.logger = logging.getLogger(LOGGER)
        self.logger.addHandler(handler)


@pytest.fixture
def make():
    """A function that makes a limited logger; closed after the test."""
    logger, made = logging.getLogger(LOGGER), []
    logger.setLevel(logging.INFO)

    def make_limited(**options):
        made.append(Limited(**options))
        return made[-1]

    yield make_limited
    for each in made:
        each.filter.close()
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture
def limited(make):
    return make(burst=2, interval=60.0)


def test_the_first_of_a_kind_pass_and_the_rest_is_summed_up_at_the_next_record_after_the_interval(limited):
    for number in range(10):
        limited.logger.warning("hook %d failed", number)
    assert limited.lines == ["hook 0 failed", "hook 1 failed"]
    limited.now += 60.0
    limited.logger.error("something else")
    assert limited.lines[2:] == [
        "… and 8 more like it in the last 60 s, the last one: hook 9 failed",
        "something else",
    ]


def test_after_the_interval_a_kind_begins_anew(limited):
    for _ in range(3):
        limited.logger.warning("again")
    limited.now += 61.0
    for _ in range(3):
        limited.logger.warning("again")
    summary = "… and 1 more like it in the last 61 s, the last one: again"
    assert limited.lines == ["again", "again", summary, "again", "again"]


def test_a_kind_of_which_nothing_was_suppressed_has_no_summary(limited):
    limited.logger.warning("once")
    limited.now += 61.0
    limited.logger.warning("other")
    assert limited.lines == ["once", "other"]


def test_kinds_differ_by_logger_level_and_template_only(limited):
    other = logging.getLogger(f"{LOGGER}.other")
    for number in range(3):
        limited.logger.warning("a %d", number)
        limited.logger.error("a %d", number)
        limited.logger.warning("b %d", number)
        other.warning("a %d", number)
    assert len(limited.lines) == 4 * 2


def test_records_below_warning_always_pass(limited):
    for _ in range(100):
        limited.logger.info("a message")
    assert len(limited.lines) == 100


def test_closing_writes_the_summaries(limited):
    for _ in range(5):
        limited.logger.warning("again")
    limited.now += 12.0
    limited.filter.close()
    assert limited.lines[2:] == ["… and 3 more like it in the last 12 s, the last one: again"]


def test_a_summary_is_written_at_the_end_of_the_interval_without_another_record(make):
    limited = make(burst=1, interval=0.05)
    for _ in range(4):
        limited.logger.warning("again")
    limited.now += 1.0
    wait_until(lambda: "… and 3 more like it in the last 1 s, the last one: again" in limited.lines)


def test_only_a_bounded_number_of_kinds_is_counted_and_further_kinds_pass(make):
    limited = make(burst=1, max_kinds=3)
    for number in range(10):
        for _ in range(5):
            limited.logger.warning(f"dynamic {number}")  # noqa: G004 - that is the mistake
    assert [limited.lines.count(f"dynamic {number}") for number in range(10)] == [1] * 3 + [5] * 7


def test_every_record_is_written_or_counted_with_any_number_of_threads(make):
    limited = make(burst=5)
    threads = [
        threading.Thread(target=lambda: [limited.logger.warning("again") for _ in range(500)], name=f"fabric-test-{n}")
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limited.filter.close()
    assert limited.lines.count("again") == 5
    assert limited.lines[-1].startswith("… and 1995 more")
