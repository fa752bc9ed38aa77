"""What a session asks: other nodes (ASK, answered by TELL), and the proxy (LIST, answered by LISTED; LAST by KEPT).

    ask  ──▸ open ──TELL──▸ Told, and open still: there may be more answers
              ├─ ACK ─────▸ AskedAll (of all nodes: so many)
              ├─ ERROR ───▸ Untold gone, busy: of one node
              ├─ link lost, deadline ──▸ Untold without an origin: nothing more comes
              └─ cancel
    endpoints ──▸ open ──LISTED──▸ Listed
                   └─ deadline ──▸ Failed      a lost link does not end it: it is asked again
    last ──▸ open ──KEPT──▸ Kept               else the same

What the answer to a question is worth after a reconnect only its asker knows; who is there is worth asking anew.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.errors import Closed, DeliveryTimeout, EndpointBusy, FabricError, NotConnected, Refused, WireError
from fabric.messages.session.outbound import refusal
from fabric.messages.session.outcomes import CallFailed, Listing, QueryFailed, QueryReply, QuerySent, RetainedPage
from fabric.protocol import verbs

MAX_OPEN = 10_000


class _Question:
    __slots__ = ("began", "deadline", "frames", "to_proxy", "verb")

    def __init__(self, frames: list[bytes], began: float, deadline: float) -> None:
        self.frames = frames
        self.began = began
        self.deadline = deadline
        self.verb = frames[0]
        self.to_proxy = self.verb != verbs.ASK


class Queries:
    """Questions that wait for answers. Frames go to `outgoing`, answers to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any]) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._up = False
        self._open: dict[str, _Question] = {}

    def ask(self, id: str, origin: bytes, body: bytes, deadline: float, now: float) -> None:
        """Ask a node, or all others (`b"*"`)."""
        frames = verbs.encode(verbs.Ask(id, origin, body))
        if self._up:
            self._begin(id, frames, deadline, now)
        else:
            self._outcomes.append(QueryFailed(id, b"", "disconnected"))

    def endpoints(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask the proxy who is there."""
        self._begin(id, verbs.encode(verbs.List(id, query)), deadline, now)

    def last(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask the proxy for the last events of topics."""
        self._begin(id, verbs.encode(verbs.Last(id, query)), deadline, now)

    def cancel(self, id: str) -> bool:
        """Nobody wants to know any more."""
        return self._open.pop(id, None) is not None

    def up(self) -> None:
        """There is a proxy (again)."""
        self._up = True
        self._outgoing.extend(question.frames for question in self._open.values())

    def down(self) -> None:
        """The link is lost."""
        self._up = False
        for id_, question in list(self._open.items()):
            if not question.to_proxy:
                self._end(id_, QueryFailed(id_, b"", "disconnected"))

    def close(self) -> None:
        """Nothing more comes: what is open fails with Closed."""
        self.down()
        for id_ in list(self._open):
            self._end(id_, CallFailed(id_, Closed("the node was closed before the proxy answered")))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: never."""
        return min((question.deadline for question in self._open.values()), default=None)

    def tick(self, now: float) -> None:
        """End what has waited long enough."""
        for id_, question in [item for item in self._open.items() if item[1].deadline <= now]:
            if question.to_proxy:
                self._end(id_, CallFailed(id_, self._overdue(question, now)))
            else:
                self._end(id_, QueryFailed(id_, b"", "timeout"))

    def asked_all(self, id: str, nodes: int) -> None:
        """ACK: so many nodes were asked."""
        if id in self._open:
            self._outcomes.append(QuerySent(id, nodes))

    def told(self, message: verbs.Telling) -> None:
        """TELL: one answer."""
        if message.id in self._open:
            self._outcomes.append(QueryReply(message.id, message.origin, message.body))

    def listed(self, message: verbs.Listed) -> None:
        """LISTED: who is there. WireError if it does not say."""
        question = self._open.get(message.id)
        if question is None or question.verb != verbs.LIST:
            return
        endpoints, nodes = message.listing.get("endpoints"), message.listing.get("nodes")
        if not isinstance(endpoints, list) or not isinstance(nodes, list):
            raise WireError("a listing has endpoints and nodes")
        self._end(message.id, Listing(message.id, endpoints, nodes, message.listing.get("truncated") is True))

    def kept(self, message: verbs.Kept) -> None:
        """KEPT: a page of last events. WireError if it is none."""
        question = self._open.get(message.id)
        if question is None or question.verb != verbs.LAST:
            return
        facts = message.kept
        events, after, mark = facts.get("events"), facts.get("after"), facts.get("mark")
        if not isinstance(events, list) or type(after) is not int or not (mark is None or type(mark) is int):
            raise WireError("a page of last events has events, after and mark")
        for event in events:
            if not isinstance(event, list) or [type(part) for part in event] != [str, str, int, dict]:
                raise WireError("a last event is [topic, origin, number, envelope]")
        self._end(message.id, RetainedPage(message.id, events, facts.get("more") is True, after, mark))

    def refused(self, error: verbs.Error) -> None:
        """ERROR about ASK, LIST or LAST, or about a verb that the proxy does not know."""
        question = self._open.get(error.subject)
        if question is None:
            return
        if error.code == "unknown_verb" and question.to_proxy:
            verb = question.verb.decode()
            fault = Refused("the proxy", error.code, f"it is of a version that does not know {verb}")
            self._end(error.subject, CallFailed(error.subject, fault))
            return
        if question.to_proxy:
            self._end(error.subject, CallFailed(error.subject, refusal("", error.code, error.detail)))
            return
        try:
            origin = bytes.fromhex(str(error.detail.get("origin", "")))
        except ValueError:
            raise WireError("an origin is hexadecimal") from None
        self._outcomes.append(QueryFailed(error.subject, origin, error.code))

    def _begin(self, id: str, frames: list[bytes], deadline: float, now: float) -> None:
        if id in self._open:
            raise ValueError(f"id {id!r} is being asked already: ids are used once")
        if len(self._open) >= MAX_OPEN:
            raise EndpointBusy(f"{MAX_OPEN:,} questions wait for an answer, no more are asked")
        self._open[id] = _Question(frames, now, deadline)
        if self._up:
            self._outgoing.append(frames)

    def _end(self, id: str, outcome: QueryFailed | CallFailed | Listing | RetainedPage) -> None:
        del self._open[id]
        self._outcomes.append(outcome)

    def _overdue(self, question: _Question, now: float) -> FabricError:
        waited = round(now - question.began, 3)
        if self._up:
            return DeliveryTimeout("the proxy", waited)
        asked = "who is there" if question.verb == verbs.LIST else "what came last"
        return NotConnected(f"no proxy was there for {waited:g} s to say {asked}")
