import json
from time import strptime

import pytest

from cli.tap.event_line import EventLines, as_field, as_json, as_template, as_topic, delay_text
from cli.tap.reader import Event

ARRIVED = 1_700_000_000.5


def event(topic="order.created", /, *, ts=ARRIVED - 0.0012, src="web", type=None, **payload):
    envelope = {"type": type or topic, "ts": ts, "src": src, **payload}
    return Event(topic, envelope, ARRIVED, len(json.dumps(envelope)))


def test_a_line_is_time_topic_src_delay_and_payload():
    time, topic, src, delay, payload = EventLines()(event(id=7), 1).split()
    assert strptime(time.partition(".")[0], "%H:%M:%S")
    assert time.endswith(".498")
    assert (topic, src, delay, payload) == ("order.created", "web", "+1.2ms", '{"id":7}')


def test_columns_grow_with_what_they_hold_up_to_a_limit():
    lines = EventLines()
    before = lines(event("a.b", id=1), 1).index('{"id"')
    lines(event("a.topic.of.some.length", id=1), 2)
    after = lines(event("a.b", id=1), 3).index('{"id"')
    lines(event("a" * 200, id=1), 4)
    assert before < after
    assert lines(event("a.b", id=1), 5).index('{"id"') < 100


def test_colour_is_only_used_when_asked_for():
    assert "\x1b" not in EventLines()(event(), 1)
    assert "\x1b[" in EventLines(colour=True)(event(), 1)


def test_topics_of_one_family_share_a_colour_and_a_palette_goes_first():
    def colour(lines, topic):
        return lines(event(topic), 1).split("  ")[1].split("m")[0]

    lines = EventLines(colour=True, palette={"order.lost": "1;31"})
    assert colour(lines, "order.created") == colour(lines, "order.paid")
    assert colour(lines, "order.lost") == "\x1b[1;31"


@pytest.mark.parametrize("hostile", ["\x1b]0;title\x07", "\x9b31m", "\u202edetrevni", "line\r\nbreak"])
def test_nothing_of_an_event_reaches_the_line_as_control_character(hostile):
    of_it = event(hostile, src=hostile, type=hostile, **{hostile: hostile}, field=hostile)
    renders = [
        EventLines(),
        as_json,
        as_topic,
        as_field("field"),
        as_template("{topic}{type}{src}{payload.field}{json}"),
    ]
    for render in renders:
        assert all(part.isprintable() for part in render(of_it, 1))


def test_a_type_of_the_payloads_own_is_part_of_the_payload():
    assert EventLines()(event(type="click", x=1), 1).endswith('{"type":"click","x":1}')


@pytest.mark.parametrize("ts", [None, "yesterday", True, 1e300, -1e300, [1]])
def test_a_ts_that_is_no_time_has_no_delay(ts):
    line = EventLines()(event(ts=ts), 1)
    assert line.split()[0].endswith(".500")
    assert line.split()[3] == "?"
    assert as_template("{delay_ms}|{iso}")(event(ts=ts), 1).startswith("|20")


@pytest.mark.parametrize("src", [None, 7, ["a"], {"a": 1}])
def test_a_src_that_is_no_text_is_shown_as_json(src):
    assert as_template("{src}")(event(src=src), 1) == json.dumps(src, separators=(",", ":"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0012, "+1.2ms"), (0.05, "+50ms"), (-0.002, "-2.0ms"), (1.25, "+1.2s"), (300, "+5m"), (7_200, "+2h"),
     (400_000, "+5d"), (None, "?"), (0, "+0.0ms")],
)  # fmt: skip
def test_a_delay_is_as_exact_as_its_size_asks_for(seconds, text):
    assert delay_text(seconds) == text


def test_a_payload_that_is_cut_says_how_much_is_missing():
    assert EventLines(truncate=10)(event(text="x" * 5_000), 1).endswith("… (+5,001 characters)")


def test_json_is_the_whole_envelope():
    of_it = event(id=7)
    assert json.loads(as_json(of_it, 1)) == of_it.envelope


@pytest.mark.parametrize(
    ("path", "shown"),
    [("a", '{"b":[{"c":"text"}]}'), ("a.b.0.c", "text"), ("n", "7"), ("src", "web"), ("a.x", None), ("a.b.1", None),
     ("a.b.x", None), ("none", "null"), ("text", "a b")],
)  # fmt: skip
def test_a_field_is_found_by_its_path(path, shown):
    of_it = event(a={"b": [{"c": "text"}]}, n=7, none=None, text="a b")
    assert as_field(path)(of_it, 1) == shown


def test_a_template_is_filled_in():
    template = r"{n}\t{topic} {type} {src} {delay} {delay_ms} {size} {{x}} {payload} {payload.a.b}|{payload.no}|{ts}"
    of_it = event(ts=ARRIVED - 0.5, a={"b": "text"})
    assert as_template(template)(of_it, 3) == (
        f"3\torder.created order.created web +500ms 500.000 {of_it.size} "
        '{x} {"a":{"b":"text"}} text||1700000000.0'
    )


def test_a_template_gives_the_date_with_its_zone():
    assert as_template("{iso}")(event(), 1)[10:].startswith("T")
    assert as_template("{iso}")(event(), 1)[-6] in "+-"


@pytest.mark.parametrize("template", ["{nothing}", "{topic", "}", "{}", "{payload!r}", "{topic.__class__}"])
def test_a_template_with_an_unknown_field_is_refused(template):
    with pytest.raises(ValueError, match=r"no field|single"):
        as_template(template)
