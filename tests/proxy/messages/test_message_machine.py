"""Both halves of the message plane as one state machine: Hypothesis looks for the shortest history that breaks a promise.

Sessions and a directory joined by lists (`joined`), one step at a time: a frame written, routed, read, handled; links
cut, proxies killed, processes stopped, clocks that jump, pipes that are full, frames that come twice. After each step
what is promised must hold; at the end everything is mended, and then nothing may be left over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fabric.errors import EndpointBusy, FabricError, NoSuchEndpoint, NotConnected, Refused
from fabric.messages.session.outcomes import (
    Arrived,
    CallFailed,
    Delivered,
    Listing,
    NameLost,
    NameRefused,
    NameRegistered,
    QueryArrived,
    QueryFailed,
    QueryReply,
    QuerySent,
    RequestReplied,
)
from fabric.protocol.verbs import SEND
from tests.proxy.messages.joined import TIMEOUT, Fabric, Process

NODES = 4
NAMES = ["a", "b", "group"]
NODE = st.integers(0, NODES - 1)
#: What says that a message was put into no inbox (docs/guarantees.md).
HARMLESS = (NoSuchEndpoint, EndpointBusy, Refused, NotConnected)
#: All the time that a message may take here, what is remembered after it, and a proxy's recovery.
LONG = 60.0 + TIMEOUT * 3
#: Frames in pipes, and rounds until all of them are handled: what one history makes is far below.
MOST = 2_000


class Waiting:
    """What somebody asked for, and must hear of by its deadline."""

    def __init__(self, process: Process, deadline: float, **facts: Any) -> None:
        self.process = process
        self.deadline = deadline
        self.facts = facts
        self.outcomes: list[Any] = []


class Handling(Process):
    """A process whose handler decides when it is told to, or at once."""

    def __init__(self, fabric: Fabric, name: str, origin: bytes) -> None:
        super().__init__(fabric, name, origin)
        self.undecided: list[Arrived] = []
        self.arrived: list[tuple[int, str]] = []
        self.asked: list[QueryArrived] = []
        self.prompt = True
        self.read = 0

    def act(self) -> bool:
        busy = bool(self.session.outcomes) or bool(self.session.outgoing)
        while self.session.outcomes:
            outcome = self.session.outcomes.popleft()
            self.outcomes.append(outcome)
            if isinstance(outcome, Arrived):
                self.arrived.append((outcome.key, outcome.id))
                self.undecided.append(outcome)
                if self.prompt:
                    self.decide("accept")
            elif isinstance(outcome, QueryArrived):
                self.asked.append(outcome)
        while self.session.outgoing:
            self.pipe.append(self.session.outgoing.popleft())
        return busy

    def decide(self, how: str) -> None:
        arrived = self.undecided.pop(0)
        if how in ("busy", "closing"):
            self.session.refuse(arrived, how, "not now")
            return
        self.handled.append(arrived)
        self.session.accept(arrived)
        if arrived.request and how == "reply":
            assert self.session.reply(arrived, b'{"n":1}') in (True, False)
        elif arrived.request and how == "raise":
            assert self.session.reply_error(arrived, "ValueError", "no") in (True, False)


class Bounded(Fabric):
    """A fabric in which two that answer each other for ever are found."""

    def settle(self) -> None:
        for _ in range(MOST):
            # All of them, each time: `any` would stop at the first.
            if not sum(move(process) for process in self.processes for move in self.moves):
                return
        raise AssertionError(f"after {MOST:,} rounds they talk still")

    @property
    def moves(self) -> tuple[Callable[[Process], bool], ...]:
        """One step of one process each."""
        return (lambda process: process.work(), self.write, self.route, self.read)


class MessageMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.fabric = Bounded()
        self.nodes: list[Handling] = []
        self.messages: dict[str, Waiting] = {}
        self.questions: dict[str, Waiting] = {}
        self.lists: dict[str, Waiting] = {}
        self.names: dict[tuple[int, int], Waiting] = {}  # node, key
        self.given_back: set[tuple[int, int]] = set()
        self.cancelled: set[str] = set()
        self.repeated: set[str] = set()
        self.serial = 0

    @initialize()
    def begin(self) -> None:
        """Everybody has a name and has talked to everybody: what breaks, breaks what was whole."""
        for number in range(NODES):
            node = Handling(self.fabric, f"node-{number}", b"%08d" % number)
            self.nodes.append(node)
            self.fabric.processes.append(node)
            node.session.start(self.fabric.now)
            node.connect()
        self.fabric.settle()
        for who, (name, policy) in enumerate(
            [("a", "reject"), ("b", "reject"), ("group", "share"), ("group", "share")]
        ):
            self._register(who, name, policy)
        self.fabric.settle()
        for who in range(NODES):
            for to in NAMES:
                self._send(who, to)
        self.fabric.settle()

    def alive(self, number: int) -> Handling | None:
        """A node whose program still runs: who is stopped calls nothing."""
        node = self.nodes[number]
        return None if node.killed or node.stopped or node.session.state == "closed" else node

    def new_id(self) -> str:
        self.serial += 1
        return f"m{self.serial}"

    # What programs do

    @rule(
        who=NODE,
        to=st.sampled_from([*NAMES, "*", "a-2", "nobody"]),
        count=st.integers(1, 4),
        wait=st.sampled_from([5.0, 0.5, 60.0]),
        request=st.booleans(),
        redeliver=st.booleans(),
        settled=st.booleans(),
    )
    def send(self, who: int, to: str, count: int, wait: float, request: bool, redeliver: bool, settled: bool) -> None:
        for number in range(count):
            self._send(who, to, wait, request=request and to != "*", redeliver=redeliver, named=number % 2 == 1)
        if settled:
            self.fabric.settle()

    def _send(
        self,
        who: int,
        to: str,
        wait: float = 5.0,
        *,
        request: bool = False,
        redeliver: bool = False,
        named: bool = False,
    ) -> None:
        if (node := self.alive(who)) is None:
            return
        owned = sorted(filter(None, node.session.names.values()))
        id_ = self.new_id()
        self.messages[id_] = Waiting(node, self.fabric.now + wait, to=to, request=request, redeliver=redeliver)
        node.send(id_, to, wait=wait, request=request, redeliver=redeliver, sender=owned[0] if named and owned else "")

    @rule(who=NODE, how=st.sampled_from(["prompt", "slow", "accept", "busy", "closing", "reply", "raise"]))
    def handle(self, who: int, how: str) -> None:
        """Its handler takes what comes at once, or when it is told to; then this."""
        if (node := self.alive(who)) is None:
            return
        if how in ("prompt", "slow"):
            node.prompt = how == "prompt"
        elif node.undecided:
            node.decide(how)
            node.act()

    @rule(who=NODE, name=st.sampled_from(NAMES), policy=st.sampled_from(["reject", "replace", "suffix", "share"]))
    def register(self, who: int, name: str, policy: str) -> None:
        self._register(who, name, policy)

    def _register(self, who: int, name: str, policy: str) -> None:
        if (node := self.alive(who)) is not None:
            key = node.register(name, policy, wait=20.0)
            self.names[who, key] = Waiting(node, self.fabric.now + 20.0)

    @rule(who=NODE, key=st.integers(1, 3))
    def unregister(self, who: int, key: int) -> None:
        if (node := self.alive(who)) is not None:
            node.session.unregister(key)
            self.given_back.add((who, key))
            node.act()

    @rule(who=NODE, whom=st.one_of(st.none(), NODE), wait=st.sampled_from([1.0, 20.0]))
    def ask(self, who: int, whom: int | None, wait: float) -> None:
        if (node := self.alive(who)) is not None:
            id_ = self.new_id()
            origin = b"*" if whom is None else self.nodes[whom].session.origin
            self.questions[id_] = Waiting(node, self.fabric.now + wait)
            node.session.ask(id_, origin, b"{}", self.fabric.now + wait, self.fabric.now)
            self.lists[id_ + "l"] = Waiting(node, self.fabric.now + wait)
            node.session.endpoints(id_ + "l", self.fabric.now + wait, self.fabric.now)
            node.act()
        for other in self.nodes:
            if other.asked and not (other.stopped or other.killed):
                other.session.tell(other.asked.pop(0), b"null")
                other.act()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from([*self.messages, *self.questions]))
        waiting = self.messages.get(id_) or self.questions[id_]
        if not (waiting.process.stopped or waiting.process.killed):
            waiting.process.session.cancel(id_, self.fabric.now)
            self.cancelled.add(id_)

    # What happens to them

    @rule(steps=st.lists(st.tuples(NODE, st.sampled_from(["write", "route", "read", "work"])), min_size=4, max_size=30))
    def step(self, steps: list[tuple[int, str]]) -> None:
        for who, each in steps:
            if each == "work":
                self.nodes[who].work()
            else:
                getattr(self.fabric, each)(self.nodes[who])

    @rule()
    def settle(self) -> None:
        self.fabric.settle()

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 2.0, 4.9, 6.0, 16.0, 47.0]))
    def tick(self, seconds: float) -> None:
        """Past five seconds nobody has run meanwhile, and clocks are looked at before what has arrived is."""
        self.fabric.tick(seconds)

    @rule(seconds=st.sampled_from([2.0, 17.0]))
    def run_for(self, seconds: float) -> None:
        self.fabric.run(seconds)

    @rule(who=NODE, arrived=st.integers(0, 3), told=st.booleans())
    def cut(self, who: int, arrived: int, told: bool) -> None:
        """EHOSTUNREACH for whatever the proxy sends it; its DEALER keeps what it has not written."""
        node = self.nodes[who]
        node.cut(arrived)
        if told and self.alive(who) is not None:
            node.session.link_lost(self.fabric.now)
            node.act()

    @rule(told=st.booleans())
    def mend(self, told: bool) -> None:
        if self.fabric.directory is None:
            self.fabric.start_proxy()
        for who, node in enumerate(self.nodes):
            node.connect()
            if told and node.peer and self.alive(who) is not None:
                node.session.link_back(self.fabric.now, self.fabric.proxy.terms.proxy)
                node.act()

    @rule(arrived=st.integers(0, 3), back=st.booleans())
    def kill_proxy(self, arrived: int, back: bool) -> None:
        self.fabric.kill_proxy(arrived)
        if back:
            self.fabric.start_proxy()

    @rule(who=NODE, index=st.integers(0, 5))
    def repeat(self, who: int, index: int) -> None:
        """A frame in a DEALER's queue comes twice. (ZeroMQ does not do that; a relay, or a bad peer, could.)"""
        pipe = self.nodes[who].pipe
        if index < len(pipe):
            frames = pipe[index]
            if frames[0] == SEND:
                self.repeated.add(frames[1].decode())
            pipe.insert(index, list(frames))

    @rule(who=NODE, what=st.sampled_from(["full", "drained", "stopped", "continued"]))
    def trouble(self, who: int, what: str) -> None:
        """`full`: EAGAIN for whatever the proxy sends it."""
        node = self.nodes[who]
        if what in ("full", "drained"):
            (self.fabric.busy.add if what == "full" else self.fabric.busy.discard)(node)
        else:
            node.stopped = what == "stopped"

    @rule(who=NODE, how=st.sampled_from(["killed", "closed"]))
    @precondition(lambda self: sum(self.alive(number) is not None for number in range(NODES)) > 2)
    def end(self, who: int, how: str) -> None:
        if how == "killed":
            self.nodes[who].kill()
        elif (node := self.alive(who)) is not None:
            node.session.close(self.fabric.now)
            node.act()

    # What holds

    def gather(self) -> None:
        """Hand each new outcome to what it is about."""
        for number, node in enumerate(self.nodes):
            for outcome in node.outcomes[node.read :]:
                if isinstance(outcome, Delivered | RequestReplied):
                    self.messages[outcome.id].outcomes.append(outcome)
                elif isinstance(outcome, CallFailed):
                    (self.messages.get(outcome.id) or self.lists[outcome.id]).outcomes.append(outcome)
                elif isinstance(outcome, Listing):
                    self.lists[outcome.id].outcomes.append(outcome)
                elif isinstance(outcome, QueryReply | QueryFailed | QuerySent):
                    self.questions[outcome.id].outcomes.append(outcome)
                elif isinstance(outcome, NameRegistered | NameRefused | NameLost):
                    self.names[number, outcome.key].outcomes.append(outcome)
            node.read = len(node.outcomes)

    @invariant()
    def every_message_has_one_outcome_and_it_is_typed(self) -> None:
        self.gather()
        for id_, message in self.messages.items():
            kinds = [type(outcome) for outcome in message.outcomes]
            delivered = kinds.count(Delivered)
            if message.facts["request"]:
                # With `redeliver` a successor of who has acknowledged it may acknowledge it again.
                assert delivered <= 1 or message.facts["redeliver"], (id_, message.outcomes)
                ends = [kind for kind in kinds if kind is not Delivered]
                assert len(ends) <= 1, (id_, message.outcomes)
                assert not ends or kinds[-1] is ends[0], (id_, message.outcomes)
                assert RequestReplied not in kinds or delivered, (id_, message.outcomes)
            else:
                assert len(kinds) <= 1, (id_, message.outcomes)
            assert all(
                isinstance(outcome.error, FabricError) for outcome in message.outcomes if type(outcome) is CallFailed
            )

    @invariant()
    def deadlines_are_kept(self) -> None:
        self.gather()
        now = self.fabric.now
        for waiting, done in (
            *(
                (message, (Delivered, CallFailed))
                for id_, message in self.messages.items()
                if id_ not in self.cancelled
            ),
            *((each, (Listing, CallFailed)) for each in self.lists.values()),
            *((each, (QueryFailed,)) for id_, each in self.questions.items() if id_ not in self.cancelled),
            *((each, (NameRegistered, NameRefused)) for key, each in self.names.items() if key not in self.given_back),
        ):
            node = waiting.process
            if node.stopped or node.killed or any(isinstance(each, done) and _ends(each) for each in waiting.outcomes):
                continue
            # The shell is to call `tick` in time; whoever was stopped until now is called at the next step.
            assert node.session.next_deadline() <= waiting.deadline
            assert waiting.deadline > now or node.session.next_deadline() <= now

    @invariant()
    def a_handler_sees_an_id_once(self) -> None:
        for node in self.nodes:
            assert len(node.arrived) == len(set(node.arrived)), node.session.node

    @invariant()
    def what_was_not_to_be_redelivered_is_in_one_inbox(self) -> None:
        self.gather()
        inboxes: dict[str, int] = defaultdict(int)
        for node in self.nodes:
            for arrived in node.handled:
                inboxes[arrived.id] += 1
        for id_, message in self.messages.items():
            broadcast = message.facts["to"] == "*"
            if not (broadcast or message.facts["redeliver"] or id_ in self.repeated):
                assert inboxes[id_] <= 1, id_
            for outcome in message.outcomes:
                if isinstance(outcome, Delivered):
                    assert outcome.holders <= inboxes[id_], (id_, outcome)
                    assert outcome.holders == 1 or broadcast
                elif (
                    isinstance(outcome, CallFailed) and isinstance(outcome.error, HARMLESS) and id_ not in self.repeated
                ):
                    assert not inboxes[id_], (id_, outcome)

    @invariant()
    def names_are_held_as_their_policies_say(self) -> None:
        self.gather()
        for outcomes in (each.outcomes for each in self.names.values()):
            ends = [index for index, each in enumerate(outcomes) if isinstance(each, NameRefused | NameLost)]
            assert ends in ([], [len(outcomes) - 1]), outcomes
        if self.fabric.directory is None:
            return
        registry = self.fabric.directory.registry
        seen: set[bytes] = set()
        for name, holders in registry.names.items():
            assert len(holders.members) == 1 or (holders.shared and holders.members), name
            for member in holders.members:
                assert member.name == name
                assert registry.nodes[member.node.peer] is member.node
                assert registry.origins[member.node.origin] is member.node
                assert member.node.registrations[member.key] is member
                assert registry.sessions.open[member.session] is member
                assert member.session not in seen
                seen.add(member.session)
        assert seen == set(registry.sessions.open)
        assert sum(len(node.registrations) for node in registry.nodes.values()) == len(seen)

    @invariant()
    def both_halves_read_what_the_other_writes(self) -> None:
        for node in self.nodes:
            assert node.session.stats()["malformed"] == 0
            assert node.session.stats()["strays"] == 0 or node.session.state == "closed"
        if self.fabric.directory is not None:
            assert self.fabric.directory.stats()["malformed"] == 0

    @invariant()
    def nothing_grows_without_bound(self) -> None:
        for node in self.nodes:
            assert len(node.pipe) + len(node.inbox) + len(node.up) + len(node.down) < MOST

    def teardown(self) -> None:
        """Everything is mended. Whoever is there is welcomed, gets what it is sent, and remembers nothing in the end."""
        fabric = self.fabric
        fabric.busy.clear()
        if fabric.directory is None:
            fabric.start_proxy()
        there = [node for node in self.nodes if not node.killed]
        for node in there:
            node.stopped, node.prompt = False, True
            while node.undecided:
                node.decide("accept")
            node.act()
            node.connect()
        fabric.run(LONG)
        self.gather()
        there = [node for node in there if node.session.state != "closed"]
        assert [node.session.state for node in there] == ["welcomed"] * len(there)
        self._everybody_can_be_reached(there)
        fabric.run(LONG + TIMEOUT)
        self._nothing_is_left(there)
        for each in (
            self.every_message_has_one_outcome_and_it_is_typed,
            self.deadlines_are_kept,
            self.a_handler_sees_an_id_once,
            self.what_was_not_to_be_redelivered_is_in_one_inbox,
            self.names_are_held_as_their_policies_say,
            self.both_halves_read_what_the_other_writes,
        ):
            each()

    def _everybody_can_be_reached(self, there: list[Handling]) -> None:
        fabric = self.fabric
        held = {(key, node) for node in there for key in node.session.names}
        known = {
            (member.key, fabric.peers[member.node.peer])
            for holders in fabric.proxy.registry.names.values()
            for member in holders.members
        }
        assert held == known
        for node in there:
            for name in sorted({name.decode() for name in fabric.proxy.registry.names}):
                id_ = self.new_id()
                self.messages[id_] = Waiting(node, fabric.now + 5.0, to=name, request=False, redeliver=False)
                node.send(id_, name)
                fabric.settle()
                assert node.fate(id_) == [Delivered(id_, 1)]

    def _nothing_is_left(self, there: list[Handling]) -> None:
        for node in there:
            assert node.session.leftovers() == {}
            assert [*node.pipe, *node.inbox, *node.up, *node.down] == []
        directory = self.fabric.proxy
        assert (directory.registry.sessions.recovering, directory.leftovers()) == (False, {})
        assert {node.peer for node in there} == set(directory.registry.nodes)
        watchers = {peer for each in directory.registry.sessions.open.values() for peer in each.watchers}
        assert len(watchers) <= self.fabric.connections


def _ends(outcome: Any) -> bool:
    """One node's silence is not the end of a question: others may answer it still."""
    return not (isinstance(outcome, QueryFailed) and outcome.origin)


TestMessages = MessageMachine.TestCase
TestMessages.settings = settings(max_examples=100, stateful_step_count=50)
