"""Templates filled in: in one pass, and foreign text stays inert."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabric.rules.fill import Context, in_topic, plain, shown, to_text, value, without_controls
from fabric.rules.item import event_item, message_item
from fabric.rules.template import COLOURS, MARKS, VALUES, TemplateName, template

MESSAGE = {
    "type": "message",
    "id": "i-1",
    "to": "lead",
    "from": "worker-1",
    "ts": 1_700_000_000.9,
    "body": {"text": "hi", "type": "ack", "channel": "c:1", "job": {"id": 7, "tags": ["a", "b"]}},
}
NAMES = {"worker-1": TemplateName("Ann", "green")}


def show(text, message=MESSAGE, *, limit=1_000, **context):
    return shown(template(text), Context(message_item(message), "done", NAMES, **context), limit=limit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{from} {to} {id} {name}", "worker-1 lead i-1 Ann"),
        ("{type} {channel} {text}", "ack c:1 hi"),
        ("[{topic}]", "[]"),
        ("{body.job.id} {body.job.tags.1} {body.job.tags} {body.none}.", '7 b ["a","b"] .'),
        ("{kind} {rule}", "message done"),
        ("{ts}", "1700000000"),
        ("{{from}} {{{from}}}", "{from} {worker-1}"),
        ("", ""),
        ("{color:red}a{bold}b{reset}{dim}{color:from}", "ab"),
        ("{body}", to_text(MESSAGE["body"])),
        ("{message}", to_text(MESSAGE)),
    ],
)
def test_placeholders_are_filled_in(text, said):
    assert show(text) == said


@pytest.mark.parametrize("name", [*VALUES, *(mark for mark in MARKS if mark != "color")])
def test_every_placeholder_of_the_grammar_can_be_filled_in(name):
    assert isinstance(show(f"{{{name}}}"), str)


def test_times_are_local_and_formatted_by_strftime():
    import datetime

    when = datetime.datetime.fromtimestamp(MESSAGE["ts"])
    assert show("{ts:%Y-%m-%d %H:%M:%S}") == when.strftime("%Y-%m-%d %H:%M:%S")
    assert show("[{ts:%H:%M}]", {**MESSAGE, "ts": "never"}) == "[]"


def test_colours_are_there_where_the_output_has_them():
    assert show("{color:bold_red}{from}{reset}", colour=True) == f"{COLOURS['bold_red']}worker-1\x1b[0m"
    assert show("{color:from}{name}{reset}", colour=True) == f"{COLOURS['green']}Ann\x1b[0m"
    assert show("{color:from}{from}{reset}", {**MESSAGE, "from": "x"}, colour=True) == "x\x1b[0m"


def test_a_summary_is_the_text_or_else_the_whole_body():
    assert show("{summary}", {"body": {"text": "hi", "type": "ack"}}) == "hi"
    assert show("{summary}", {"body": {"text": "hi", "n": 1}}) == '{"text":"hi","n":1}'
    assert show("{summary}", {"body": {}}) == "{}"


def test_a_topic_has_segments_counted_from_one():
    context = Context(event_item("job.7.done", {}))
    assert shown(template("{topic} {topic.1} {topic.2} [{topic.4}]"), context, limit=99) == "job.7.done job 7 []"


HOSTILE = [
    "{from} {color:red} {{x}} {body} %s %(a)s",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "\u202egnp.exe\u2066",
    "line\nworker-1: forged\r\n\u2028more",
    "\0\x7f\x08\ud800",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_escaped(text):
    said = show("{text}|{body.text}|{from}", {"from": text, "body": {"text": text}}, limit=500)
    assert said.isprintable()
    assert len(said) < 12 * 500 + 100
    if text.isprintable() and len(text) < 100:
        assert said == f"{text}|{text}|{text}"


def test_kept_lines_are_indented_so_that_none_looks_like_another_message():
    body = {"text": "one\n12:00 lead: two\n\x1b[1mthree\n"}
    assert show("{from}: {text:lines}", {"from": "w", "body": body}) == "w: one\n  12:00 lead: two\n  \\u001b[1mthree"


def test_a_long_value_is_cut_with_the_number_of_missing_characters():
    assert show("{text}!", {"body": {"text": "abcdef"}}, limit=4) == "abcd… (+2 characters)!"
    assert show("{text} {text}", {"body": {"text": "abc"}}, limit=4) == "abc a… (+2 characters)"


LITERAL = st.text(
    alphabet=st.characters(blacklist_characters="{}", blacklist_categories=("C", "Zl", "Zp")), max_size=10
)


@given(LITERAL, st.text(max_size=200), LITERAL)
@example("", "{text}{from}{body}", "")
def test_a_value_is_escaped_between_the_literals_and_never_filled_in_again(before, text, after):
    said = show(f"{before}{{text}}{after}", {"from": "F", "body": {"text": text}})
    assert said.startswith(before)
    assert said.endswith(after)
    middle = said[len(before) : len(said) - len(after)]
    assert not {each for each in middle if unicodedata.category(each)[0] == "C"}
    # Unescaped, it is the same text.
    units = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), middle) if "\\" not in text else None
    if units is not None:
        assert units.encode("utf-16-le", "surrogatepass") == text.encode("utf-16-le", "surrogatepass")


@given(st.text(alphabet="{}abc:.%fromtextbody_ \n", max_size=30))
def test_every_template_can_be_filled_in(text):
    try:
        made = template(text)
    except ValueError:
        return
    context = Context(message_item(MESSAGE))
    shown(made, context, limit=100)
    plain(made, context)
    value(made, context)


def test_as_data_values_are_unchanged():
    context = Context(message_item({"from": "w", "body": {"text": "a\x1b\n", "n": 7, "o": {"x": [1]}}}))
    assert plain(template("{color:red}{from}: {text}"), context) == "w: a\x1b\n"
    assert value(template("{body.n}"), context) == 7
    assert value(template("{body.o}"), context) == {"x": [1]}
    assert value(template("{body.none}"), context) is None
    assert value(template("n={body.n}"), context) == "n=7"
    assert value(template("{text}"), context) == "a\x1b\n"


def test_in_a_topic_a_value_is_one_segment():
    context = Context(event_item("a.b", {"src": "x.*\n\u202ey z"}))
    assert in_topic(template("seen.{topic}.{from}"), context) == "seen.a.b.x____y_z"


def test_output_of_a_program_keeps_its_lines_and_at_most_its_colours():
    said = "\x1b[31mred\x1b[0m\n\x1b]0;title\x07two\x1b[2J\n"
    assert without_controls(said, colour=False, limit=999) == (
        "\\u001b[31mred\\u001b[0m\n\\u001b]0;title\\u0007two\\u001b[2J"
    )
    coloured = without_controls(said, colour=True, limit=999)
    assert coloured == "\x1b[31mred\x1b[0m\n\\u001b]0;title\\u0007two\\u001b[2J\x1b[0m"
    assert without_controls("plain", colour=True, limit=999) == "plain"
    assert without_controls("x" * 100, colour=True, limit=10) == "x" * 10


@given(st.text(max_size=100))
def test_no_other_escape_sequence_than_colours_is_kept(text):
    said = without_controls(f"\x1b[1m{text}\x1b[0;32m", colour=True, limit=999)
    rest = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\n", "").replace("\t", "")
    assert not {each for each in rest if unicodedata.category(each)[0] == "C"}


def test_every_value_of_a_field_can_be_shown():
    import orjson

    deep = orjson.loads("[" * 500 + "]" * 500)
    assert show("{body}", {"body": {"a": deep}}) == "(cannot be shown)"
    assert show("{body.a}", {"body": {"a": "\ud800"}}) == "\\ud800"
    assert show("{body}", {"body": {"a": "\ud800"}}) == "(cannot be shown)"
