"""Tracing a topic: which subscriptions of all nodes match it, and which nearly do. Pure.

    node.trace("order.created") ──ASK {"trace": topic}──▸ every other node ──▸ `answer` ──TELL──▸ `read_answer` ──▸ Trace

Nothing is published. A node answers with the subscriptions of its bus that match, and with those that nearly match:

    order.creatd     a segment that differs, if the rest is the same or the two look alike
    Order.Created    upper and lower case
    order  *         one level too few: `order.**`, `**` would match
    order.created.eu one level too many

The size of an answer is bounded: it names at most `MAX_SHOWN` subscriptions and counts the rest, and near misses are
searched among the first `MAX_PATTERNS` patterns only. The reason of a near miss is not sent: the asker computes it.

`read_answer` returns None for any value that is no answer, such as that of an older node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from fabric.protocol.events import prefixes
from fabric.protocol.topics import DEEP, ONE, matches

#: Subscriptions that one answer names, matching and nearly matching ones together.
MAX_SHOWN = 100
#: Patterns that are checked for near misses (some 20 µs each), and subscriptions whose prefixes are listed.
MAX_PATTERNS = 1_000
MAX_SUBSCRIPTIONS = 20_000
#: A pattern with more segments is checked for upper and lower case only: the other checks take quadratic time.
MAX_SEGMENTS = 16
#: Characters of a handler's name.
MAX_HANDLER = 160
#: The ratio (`difflib`) from which two segments are similar: a letter is missing, or two are exchanged.
_MIN_SIMILARITY = 0.7


class TracedSubscription(NamedTuple):
    """One subscription. `handler` is the callback's qualified name."""

    pattern: str
    handler: str = ""
    is_async: bool = False


class TraceAnswer(NamedTuple):
    """The answer of one node."""

    node: str
    origin: str
    matching: tuple[TracedSubscription, ...] = ()
    #: Those that nearly match, the nearest first; `near_miss` gives the reason.
    near: tuple[TracedSubscription, ...] = ()
    #: The number of its subscriptions that match, named here or not, and of all of them.
    matched: int = 0
    subscriptions: int = 0
    #: Prefixes of the topic that the node has subscribed at the proxy, and whether the list is complete.
    prefixes: tuple[bytes, ...] = ()
    complete: bool = True
    #: The node's process, from the proxy's list of nodes.
    pid: int = 0
    host: str = ""
    program: str = ""


class Trace(NamedTuple):
    """The subscriptions of all nodes for `topic`."""

    topic: str
    #: The answers, our own first.
    answers: tuple[TraceAnswer, ...] = ()
    #: The nodes that did not answer (`node`, `origin`, `pid`, …): stopped, or of another version.
    silent: tuple[dict[str, Any], ...] = ()
    #: Subscribed prefixes that match the topic, and belong to no node that answered.
    unclaimed: tuple[bytes, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether at least one subscriber would get the event."""
        return bool(self.unclaimed) or any(each.matched for each in self.answers)


# The answering node


def answer(topic: str, subscriptions: Sequence[Any], *, node: str, origin: bytes) -> dict[str, Any]:
    """The answer, as JSON, of a node with these `subscriptions` (see `fabric.Subscription`) for a valid `topic`."""
    matching: list[list[Any]] = []
    matched = 0
    known: dict[str, bool] = {}
    misses: list[tuple[int, int, Any]] = []
    claimed: dict[bytes, None] = {}
    key = _key(topic)
    for index, each in enumerate(subscriptions):
        pattern = each.pattern
        if pattern not in known:
            known[pattern] = matches(pattern, topic)
            if not known[pattern] and len(known) <= MAX_PATTERNS and (miss := near_miss(pattern, topic)) is not None:
                misses.append((miss.rank, index, each))
            if index < MAX_SUBSCRIPTIONS:
                claimed |= dict.fromkeys(prefix for prefix in prefixes(pattern) if key.startswith(prefix))
        if known[pattern]:
            matched += 1
            if len(matching) < MAX_SHOWN:
                matching.append(_named(each))
    misses.sort(key=lambda miss: miss[:2])
    return {
        "node": node,
        "origin": origin.hex(),
        "matching": matching,
        "near": [_named(each) for _, _, each in misses[: MAX_SHOWN - len(matching)]],
        "matched": matched,
        "subscriptions": len(subscriptions),
        "prefixes": [prefix.decode("latin-1") for prefix in claimed],
        "complete": len(subscriptions) <= MAX_SUBSCRIPTIONS,
    }


def _named(subscription: Any) -> list[Any]:
    return [subscription.pattern, handler_name(subscription.callback), bool(subscription.is_async)]


def handler_name(callback: Callable[..., object]) -> str:
    """Module and qualified name of a callback, or of the function in a `functools.partial`."""
    while isinstance(callback, partial):
        callback = callback.func
    # Not its repr, which is code of the application: this runs on the control thread, which sends the heartbeats.
    name, module = getattr(callback, "__qualname__", None), getattr(callback, "__module__", None)
    if not isinstance(name, str):
        name, module = type(callback).__qualname__, type(callback).__module__
    text = f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name
    # Encoded, because JSON has no lone surrogates, and a generated name may have one.
    return text[:MAX_HANDLER].encode(errors="replace").decode()


# Near misses


class Miss(NamedTuple):
    """The reason why a pattern nearly matches a topic. The nearest miss has the lowest rank."""

    rank: int
    why: str


def near_miss(pattern: str, topic: str) -> Miss | None:
    """The reason why `pattern`, which does not match `topic`, nearly does; None if it does not. Both are valid."""
    if matches(pattern.casefold(), topic.casefold()):
        return Miss(0, "only upper and lower case differ")
    wanted, given = pattern.split("."), topic.split(".")
    if len(wanted) > MAX_SEGMENTS:
        return None
    for index, segment in enumerate(wanted):
        if segment == ONE and matches(wider := ".".join([*wanted[:index], DEEP, *wanted[index + 1 :]]), topic):
            return Miss(1, f"* stands for one segment; {wider} would match")
    if wanted[-1] != DEEP and matches(wider := f"{pattern}.{DEEP}", topic):
        return Miss(1, f"it does not reach below {pattern}; {wider} would match")
    named = any(segment not in (ONE, DEEP) for segment in wanted[:-1])
    if named and wanted[-1] not in (ONE, DEEP) and matches(".".join(wanted[:-1]), topic):
        return Miss(2, f"it wants one more segment, {wanted[-1]!r}")
    return _other_segment(wanted, given, topic)


def _other_segment(wanted: list[str], given: list[str], topic: str) -> Miss | None:
    literals = sum(segment not in (ONE, DEEP) for segment in wanted)
    for index, segment in enumerate(wanted):
        if segment in (ONE, DEEP) or not matches(".".join([*wanted[:index], ONE, *wanted[index + 1 :]]), topic):
            continue
        if DEEP not in wanted[:index]:
            at = index
        elif DEEP not in wanted[index + 1 :]:
            at = len(given) - (len(wanted) - index)
        else:
            return Miss(4, f"no segment is {segment!r}")
        if _are_similar(segment, given[at]):
            return Miss(3, f"segment {at + 1} is {given[at]!r}, not {segment!r}")
        if literals > 1:
            return Miss(4, f"segment {at + 1} is {given[at]!r}, not {segment!r}")
    return None


def _are_similar(one: str, other: str) -> bool:
    from difflib import SequenceMatcher  # imported here: every process imports this module, and few trace

    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= _MIN_SIMILARITY


# The asking node


def read_answer(value: Any) -> TraceAnswer | None:
    """Decode the value that `answer` made; None for any other value."""
    if not isinstance(value, dict):
        return None
    node, origin = value.get("node"), value.get("origin")
    matching, near = _subscribers(value.get("matching")), _subscribers(value.get("near"))
    matched, subscriptions = value.get("matched"), value.get("subscriptions")
    claimed = value.get("prefixes")
    if not isinstance(node, str) or not isinstance(origin, str) or matching is None or near is None:
        return None
    if type(matched) is not int or type(subscriptions) is not int or not isinstance(claimed, list):
        return None
    try:
        found = tuple(prefix.encode("latin-1") for prefix in claimed)
    except (AttributeError, UnicodeEncodeError):
        return None
    return TraceAnswer(node, origin, matching, near, matched, subscriptions, found, value.get("complete") is True)


def _subscribers(rows: Any) -> tuple[TracedSubscription, ...] | None:
    if not isinstance(rows, list):
        return None
    found = []
    for row in rows[:MAX_SHOWN]:
        if not isinstance(row, list) or len(row) != 3 or not isinstance(row[0], str) or not isinstance(row[1], str):
            return None
        found.append(TracedSubscription(row[0], row[1], row[2] is True))
    return tuple(found)


def trace(
    topic: str, replies: Iterable[Any], listed: Iterable[dict[str, Any]], subscribed: Callable[[bytes], bool]
) -> Trace:
    """The trace from `replies`. `listed`: the proxy's nodes; `subscribed(prefix)`: whether a prefix is subscribed."""
    known = {str(each.get("origin")): each for each in listed}
    answers = tuple(_with_process(found, known) for found in map(read_answer, replies) if found is not None)
    answered = {each.origin for each in answers}
    silent = tuple(facts for origin, facts in known.items() if origin not in answered)
    claimed = {prefix for each in answers for prefix in each.prefixes}
    key = _key(topic)
    # At any byte: the prefix of a subscriber that is no node need not end with a segment.
    matching = [key[:size] for size in range(len(key) + 1) if subscribed(key[:size])]
    unclaimed = tuple(prefix for prefix in matching if prefix not in claimed)
    if not all(each.complete for each in answers):
        unclaimed = ()  # one of these nodes may have subscribed it
    return Trace(topic, answers, silent, unclaimed)


def _with_process(answer: TraceAnswer, known: dict[str, dict[str, Any]]) -> TraceAnswer:
    facts = known.get(answer.origin, {})
    pid, host, program = facts.get("pid"), facts.get("host"), facts.get("program")
    return answer._replace(
        pid=pid if type(pid) is int else 0,
        host=host if isinstance(host, str) else "",
        program=program if isinstance(program, str) else "",
    )


def _key(topic: str) -> bytes:
    return topic.encode() + b"\0"
