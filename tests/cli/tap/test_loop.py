import threading

import pytest

from cli.tap.event_line import as_field, as_topic
from cli.tap.loop import CountsOutput, LinesOutput, Notes, TapLimits, follow
from cli.tap.reader import News, Reader


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


def test_it_ends_after_so_many_events():
    paper = Paper()
    assert follow(reader_of("a", "b", "c"), LinesOutput(paper, as_topic), Notes("ipc:///x"), TapLimits(count=2)) == 2
    assert paper.text == "a\nb\n"


@pytest.mark.parametrize("limits", [TapLimits(timeout=0.05), TapLimits(wait=0.05), TapLimits(count=9, wait=0.05)])
def test_it_ends_when_time_is_up_having_shown_what_came(limits):
    paper = Paper()
    assert follow(reader_of("a", "b", "c"), LinesOutput(paper, as_topic), Notes("ipc:///x"), limits) == 3
    assert paper.text == "a\nb\nc\n"


def test_silence_begins_anew_with_each_event_that_is_shown():
    reader, paper = reader_of(), Paper()
    timers = [
        threading.Timer(n / 20, reader.deliver, ["a.b", {"type": "a.b", "field": n} if n < 4 else {"type": "a.b"}])
        for n in range(1, 30)
    ]
    for timer in timers:
        timer.start()
    try:
        assert follow(reader, LinesOutput(paper, as_field("field")), Notes("ipc:///x"), TapLimits(wait=0.5)) == 3
    finally:
        for timer in timers:
            timer.cancel()
    assert paper.text == "1\n2\n3\n"


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
    follow(reader_of("a", "b", "a"), CountsOutput(paper, as_json=False), Notes("ipc:///x"), TapLimits(wait=0.05))
    assert [line.split()[0] for line in paper.text.splitlines()] == ["TOPIC", "a", "b", "2"]
    assert "\x1b" not in paper.text


def test_a_table_at_a_pipe_cuts_no_topic():
    paper = Paper()
    follow(reader_of("a" * 250), CountsOutput(paper, as_json=False), Notes("ipc:///x"), TapLimits(wait=0.05))
    assert "a" * 250 in paper.text


def test_a_table_at_a_terminal_has_a_screen_of_its_own_and_stays_at_the_end():
    paper = Paper(is_terminal=True)
    follow(reader_of("a"), CountsOutput(paper, as_json=False), Notes("ipc:///x"), TapLimits(timeout=0.05))
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
    notes = Notes("ipc:///x")
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
