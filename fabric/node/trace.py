"""Who would get an event, and who nearly would: what nodes are asked, what they answer, and what is made of it.

    node.trace("order.created") ──ASK {"trace": topic}──▸ every other node ──▸ `answer` ──TELL──▸ `read_answer` ──▸ Trace

Nothing is published. A node answers with the subscriptions of its bus that match, and with those that nearly do:

    order.creatd     a segment that differs, if the rest is the same or the two look alike
    Order.Created    upper and lower case
    order  *         one level too few: `order.**`, `**` would match
    order.created.eu one level too many

Answers are bounded, whatever the bus holds: at most `MAX_SHOWN` subscribers are named, the rest is counted, and past
`MAX_PATTERNS` patterns nobody looks for near misses. Why one nearly matches is not sent; the asker sees it by itself.

What is read is never trusted to be an answer: `read_answer` gives None for anything else, as an old node's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from fabric.protocol.events import prefixes
from fabric.protocol.topics import DEEP, ONE, matches

#: Subscribers that one node names, those that match and those that nearly do together.
MAX_SHOWN = 100
#: Patterns that are looked at for near misses (some 20 µs each), and subscriptions for their prefixes.
MAX_PATTERNS = 1_000
MAX_SUBSCRIPTIONS = 20_000
#: Segments past which a pattern is looked at for case only: the rest costs their square.
MAX_SEGMENTS = 16
#: Characters of a handler's name.
MAX_HANDLER = 160
#: Two segments look alike from here on (`difflib`): a letter too few, or two that changed places.
_ALIKE = 0.7


class TracedSubscription(NamedTuple):
    """One subscription. `handler` is the callback's qualified name."""

    pattern: str
    handler: str = ""
    is_async: bool = False


class TraceAnswer(NamedTuple):
    """What one node says."""

    node: str
    origin: str
    matching: tuple[TracedSubscription, ...] = ()
    #: Those that nearly match, the nearest first; see `near_miss` for why.
    near: tuple[TracedSubscription, ...] = ()
    #: Of all its subscriptions so many match, named here or not; and so many it has.
    matched: int = 0
    subscriptions: int = 0
    #: Prefixes of the topic that the node has subscribed at the proxy, and whether that is all of them.
    prefixes: tuple[bytes, ...] = ()
    complete: bool = True
    #: Of its process, as the proxy knows it.
    pid: int = 0
    host: str = ""
    program: str = ""


class Trace(NamedTuple):
    """Who would get an event on `topic`."""

    topic: str
    #: Every node that answered, our own first.
    answers: tuple[TraceAnswer, ...] = ()
    #: Nodes that did not: what is known of them (`node`, `origin`, `pid`, …). Stopped, or of another version.
    silent: tuple[dict[str, Any], ...] = ()
    #: Prefixes that take the topic, subscribed by no node that answered.
    unclaimed: tuple[bytes, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether anybody at all would get it."""
        return bool(self.unclaimed) or any(each.matched for each in self.answers)


# The node that is asked


def answer(topic: str, subscriptions: Sequence[Any], *, node: str, origin: bytes) -> dict[str, Any]:
    """What a node with these `subscriptions` (see `bus.Subscription`) answers, as JSON. `topic` has been checked."""
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
    """Module and qualified name of a callback; of what it wraps, if it is a `functools.partial`."""
    while isinstance(callback, partial):
        callback = callback.func
    # Never its repr: that is somebody's code, and we are on the thread of heartbeats.
    name, module = getattr(callback, "__qualname__", None), getattr(callback, "__module__", None)
    if not isinstance(name, str):
        name, module = type(callback).__qualname__, type(callback).__module__
    text = f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name
    # A surrogate in a name that somebody made up would make the answer no JSON.
    return text[:MAX_HANDLER].encode(errors="replace").decode()


# Near misses


class Miss(NamedTuple):
    """Why a pattern does not match a topic although it looks as if it should; the nearest has the lowest rank."""

    rank: int
    why: str


def near_miss(pattern: str, topic: str) -> Miss | None:
    """Why `pattern` nearly matches `topic`, which it does not; None if they are far apart. Both were checked."""
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
        if _alike(segment, given[at]):
            return Miss(3, f"segment {at + 1} is {given[at]!r}, not {segment!r}")
        if literals > 1:
            return Miss(4, f"segment {at + 1} is {given[at]!r}, not {segment!r}")
    return None


def _alike(one: str, other: str) -> bool:
    from difflib import SequenceMatcher  # every process imports this module, and few are ever asked

    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE


# The node that asks


def read_answer(value: Any) -> TraceAnswer | None:
    """What `answer` made; None for anything else."""
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
    """What follows from the `replies`. `listed`: the nodes that are there; `subscribed`: whether the proxy has a prefix."""
    known = {str(each.get("origin")): each for each in listed}
    answers = tuple(_placed(found, known) for found in map(read_answer, replies) if found is not None)
    heard = {each.origin for each in answers}
    silent = tuple(facts for origin, facts in known.items() if origin not in heard)
    claimed = {prefix for each in answers for prefix in each.prefixes}
    key = _key(topic)
    # At any byte: a subscriber that is none of ours need not end its prefix where a segment ends.
    taking = [key[:size] for size in range(len(key) + 1) if subscribed(key[:size])]
    unclaimed = tuple(prefix for prefix in taking if prefix not in claimed)
    if not all(each.complete for each in answers):
        unclaimed = ()  # one of them may well have subscribed it
    return Trace(topic, answers, silent, unclaimed)


def _placed(answer: TraceAnswer, known: dict[str, dict[str, Any]]) -> TraceAnswer:
    facts = known.get(answer.origin, {})
    pid, host, program = facts.get("pid"), facts.get("host"), facts.get("program")
    return answer._replace(
        pid=pid if type(pid) is int else 0,
        host=host if isinstance(host, str) else "",
        program=program if isinstance(program, str) else "",
    )


def _key(topic: str) -> bytes:
    return topic.encode() + b"\0"
