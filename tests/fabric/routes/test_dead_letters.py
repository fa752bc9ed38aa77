"""Dead letters: published as events, shown escaped."""

import threading
from time import monotonic

from fabric.bus.bus import Bus
from fabric.routes.dead_letters import DEAD_LETTER, DeadLetter, DeadLetters, line
from fabric.testing import wait_until


def close(place):
    place.close(monotonic() + 5)


def test_a_dead_letter_is_an_event_with_its_text_and_a_line():
    bus, events, lines = Bus(), [], []
    bus.subscribe("fabric.route.*", events.append)
    place = DeadLetters(bus, lines.append)
    place.put(DeadLetter("feishu:oc_1", "two\nlines", "nobody", 2, 3, "id1"))
    close(place)
    assert lines == ["-- not sent to feishu:oc_1 (nobody): two\n  lines\n"]
    [event] = events
    assert event["type"] == DEAD_LETTER
    assert {key: event[key] for key in ("channel", "text", "problem", "texts", "attempts", "id")} == {
        "channel": "feishu:oc_1", "text": "two\nlines", "problem": "nobody", "texts": 2, "attempts": 3, "id": "id1",
    }  # fmt: skip


def test_foreign_text_is_escaped_for_the_terminal():
    shown = line(DeadLetter("a:\x1b[2J", "x\x1b]0;title\x07\n-- not sent to b", "\x9b1m"))
    assert not [each for each in shown if not each.isprintable() and each != "\n"]
    assert "\n  -- not sent to b" in shown


def test_a_long_text_is_cut_and_its_length_shown():
    shown = line(DeadLetter("a", "x" * 10_000, "p"))
    assert len(shown) < 4_200
    assert shown.endswith("… (10,000 characters)")


def test_a_writer_that_fails_or_blocks_costs_dropped_lines_at_most():
    release, began, seen = threading.Event(), threading.Event(), []

    def write(text):
        began.set()
        assert release.wait(10)
        seen.append(text)
        if len(seen) == 1:
            raise OSError("gone")

    place = DeadLetters(None, write, max_waiting=2)
    place.put(DeadLetter("a", "0", "p"))
    assert began.wait(10)
    for number in range(1, 5):
        place.put(DeadLetter("a", str(number), "p"))
    assert place.dropped == 2
    release.set()
    wait_until(lambda: len(seen) == 3, what="the rest is written")
    close(place)
    assert [each[-2] for each in seen] == ["0", "3", "4"]
    assert place.shown == 2
