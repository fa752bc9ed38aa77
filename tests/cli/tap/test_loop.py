from collections import deque

import pytest

from cli.tap.event_line import as_field, as_topic
from cli.tap.loop import CountsOutput, LinesOutput, Notes, TapLimits, follow
from cli.tap.reader import Event, News, Reader


class Paper:
    """Stands for standard output."""

    def __init__(self, *, is_terminal=False):
        self.is_terminal = is_terminal
        self.text = ""

    def write(self, text):
        self.text += text

    def size(self):
        return 80, 24


def reader_of(*topics, **payload):
    reader = Reader(["**"])
    for topic in topics:
        reader.deliver(topic, {"type": topic, "ts": 1.0, "src": "x", **payload})
    return reader


def test_it_ends_after_a_number_of_events():
    paper = Paper()
    assert follow(reader_of("a", "b", "c"), LinesOutput(paper, as_topic), Notes("ipc:///x"), TapLimits(count=2)) == 2
    assert paper.text == "a\nb\n"


class Script:
    """Stands for a reader and its clock: events come at times, and a wait takes its time at once."""

    def __init__(self, *events):
        self.now = 0.0
        self._events = deque(events)

    def clock(self):
        return self.now

    def take(self, timeout):
        until = self.now + timeout
        if self._events and self._events[0][0] <= until:
            self.now, topic, envelope = self._events.popleft()
            return [Event(topic, envelope, self.now, 0)]
        self.now = until
        return []

    def news(self):
        return News()


THREE = [(at, topic, {}) for at, topic in ((0.0, "a"), (0.1, "b"), (0.2, "c"))]


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        (TapLimits(timeout=5.0), 5.0),
        (TapLimits(wait=5.0), 5.2),
        (TapLimits(count=9, wait=5.0), 5.2),
        (TapLimits(timeout=0.15, wait=5.0), 0.15),
    ],
)
def test_it_ends_when_time_is_up_after_the_events_were_shown(limits, end):
    paper, script = Paper(), Script(*THREE)
    shown = follow(script, LinesOutput(paper, as_topic), Notes("ipc:///x"), limits, clock=script.clock)
    assert paper.text == "a\nb\nc\n"[: 2 * shown]
    assert shown == sum(at < end for at, _, _ in THREE)
    assert script.now == pytest.approx(end)


def test_silence_begins_anew_with_each_event_that_is_shown():
    shown = [(n * 0.4, "a.b", {"field": n}) for n in (1, 2, 3)]
    others = [(1.2 + n * 0.1, "a.b", {}) for n in range(1, 30)]
    paper, script = Paper(), Script(*shown, *others)
    output, limits = LinesOutput(paper, as_field("field")), TapLimits(wait=0.5)
    assert follow(script, output, Notes("ipc:///x"), limits, clock=script.clock) == 3
    assert paper.text == "1\n2\n3\n"
    assert script.now == pytest.approx(1.7)


def test_events_with_nothing_to_show_do_not_count():
    paper, reader = Paper(), reader_of("a", "b")
    reader.deliver("c", {"type": "c", "field": 7})
    assert follow(reader, LinesOutput(paper, as_field("field")), Notes("ipc:///x"), TapLimits(count=1)) == 1
    assert paper.text == "7\n"


def test_what_check_raises_ends_it_and_what_came_is_shown():
    paper = Paper()

    def check():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        follow(reader_of("a"), LinesOutput(paper, as_topic), Notes("ipc:///x"), TapLimits(), check=check)
    assert paper.text == "a\n"


def test_a_table_at_a_pipe_is_written_once_at_the_end():
    paper = Paper()
    follow(reader_of("a", "b", "a"), CountsOutput(paper, as_json=False), Notes("ipc:///x"), TapLimits(count=3))
    assert [line.split()[0] for line in paper.text.splitlines()] == ["TOPIC", "a", "b", "2"]
    assert "\x1b" not in paper.text


def test_a_table_at_a_pipe_cuts_no_topic():
    paper = Paper()
    follow(reader_of("a" * 250), CountsOutput(paper, as_json=False), Notes("ipc:///x"), TapLimits(count=1))
    assert "a" * 250 in paper.text


def test_a_table_at_a_terminal_has_a_screen_of_its_own_and_stays_at_the_end():
    paper, script = Paper(is_terminal=True), Script((0.0, "a", {}))
    output, limits = CountsOutput(paper, as_json=False), TapLimits(timeout=1.0)
    follow(script, output, Notes("ipc:///x"), limits, clock=script.clock)
    screen, _, after = paper.text.removeprefix("\x1b[?1049h").partition("\x1b[?1049l")
    assert screen.startswith("\x1b[H")
    assert "TOPIC" in screen
    assert [line.split()[0] for line in after.splitlines()] == ["TOPIC", "a", "1"]


def test_notes_tell_what_was_dropped_missed_and_lost(capsys):
    notes = Notes("ipc:///x")
    notes.add(News(1, {("web", "a.b"): 2, ("\x1b[2J", "c\u202e"): 5}, ("up", "down")))
    assert capsys.readouterr().err.splitlines() == [
        "-- the link to ipc:///x was lost; waiting for it to come back",
        "-- dropped 1 event here: they came faster than this output takes them",
        "-- missed 5 events of c\\u202e from \\u001b[2J: published, but they did not arrive",
        "-- missed 2 events of a.b from web: published, but they did not arrive",
    ]
    notes.add(News(links=("up",)))
    notes.tell()
    assert capsys.readouterr().err == "-- the link to ipc:///x is back\n"


def test_notes_are_few_however_much_happens(capsys):
    notes = Notes("ipc:///x", clock=lambda: 5.0)
    for n in range(1_000):
        notes.add(News(10, {("web", f"a.{n}"): 1}))
    notes.tell()
    err = capsys.readouterr().err
    assert len(err.splitlines()) < 15
    assert "dropped 9,990 events here" in err
    assert "missed 994 events of 994 other topics" in err


def test_a_first_link_is_no_news(capsys):
    notes = Notes("ipc:///x")
    notes.add(News(links=("up",)))
    notes.tell()
    assert capsys.readouterr().err == ""


def test_notes_of_a_table_wait_for_its_end(capsys):
    notes = Notes("ipc:///x", quiet=True)
    notes.add(News(3))
    assert capsys.readouterr().err == ""
    notes.tell()
    assert "dropped 3 events" in capsys.readouterr().err
