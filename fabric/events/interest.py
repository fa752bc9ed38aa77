"""Interest: the subscriptions of other nodes, which the proxy passes on to this one, and the routes that follow from them.

The node's XPUB reads `\\x01` + prefix for a subscription and `\\x00` + prefix for its end. The proxy itself subscribes
`␀up` and `\\xff`. Subscriptions are replayed to a new connection, and withdrawn from a lost one, in byte order:

    connected      +(empty)  +␀up  +topics…  +\\xff          in one batch or several, as the network delivers them
    lost           -(empty)  -␀up  -topics…  -\\xff          in one batch

State            entered when                        wanted prefixes
**joining**      at first                            all: the subscriptions are not known yet
**up**           `␀up` and `\\xff` have been read      those read, plus the `stale` ones for `STALE_SECONDS`
**down**         a batch withdraws `␀up`             all: the wanted prefixes become `stale`, and new subscriptions
                                                     are not known meanwhile

Removing the prefixes of a lost link one by one would make events unwanted that the reconnecting subscribers miss: 19,000
lost in ten kills of the proxy, none reported. Since stale prefixes stay wanted, these events are numbered, and the
subscribers that come back report them as missing.

A topic's **route** is the subset of the wanted prefixes that match it. Events of one route reach exactly the same nodes,
so they may share a message. Routes are small integers; 0 is the route of unwanted topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from fabric.protocol.events import END, MAX_PREFIX, RESERVED, SUBSCRIBE, UNSUBSCRIBE, UP

#: Seconds that the subscribers of a lost link have to come back before their prefixes are dropped.
STALE_SECONDS = 2.0
#: Above this many prefixes, comparing routes costs more than packing gains: then each topic is its own route.
MANY_PREFIXES = 10_000
#: Prefixes kept at most, topics' and reserved ones: any peer can add them.
MAX_PREFIXES = 1_000_000
MAX_RESERVED = 10_000
#: Topics, and routes, that are cached.
CACHE_SIZE = 10_000
NOBODY = 0
EVERYBODY = 1

_UP_REMOVED = UNSUBSCRIBE + UP
_END_REMOVED = UNSUBSCRIBE + END


class Routes:
    """The routes of one state of the interest. Any thread may ask. It is replaced, not changed."""

    __slots__ = ("_ids", "_lengths", "_next_id", "_prefixes", "cache")

    def __init__(self, prefixes: set[bytes] | None, lengths: Iterable[int] = ()) -> None:
        # The set may be changed while a thread asks: the thread that changes it replaces these Routes right after, and the
        # cached answers go with them.
        self._prefixes = prefixes
        self._lengths = tuple(sorted(lengths))
        self._ids: dict[tuple[bytes, ...], int] = {}
        self._next_id = count(EVERYBODY + 1)
        #: topic → route, for callers that save a call.
        self.cache: dict[str, int] = {}

    def of(self, topic: str) -> int:
        """The route of `topic`; NOBODY if no prefix matches it."""
        route = self.cache.get(topic)
        if route is None:
            if len(self.cache) >= CACHE_SIZE:
                self.cache.clear()
            route = self.cache[topic] = self._find(topic)
        return route

    def _find(self, topic: str) -> int:
        prefixes = self._prefixes
        if prefixes is None:
            return EVERYBODY
        key = topic.encode() + b"\0"
        hits = tuple(key[:size] for size in self._lengths if size <= len(key) and key[:size] in prefixes)
        if not hits:
            return NOBODY
        if len(prefixes) > MANY_PREFIXES:
            hits = (key,)
        if len(self._ids) >= CACHE_SIZE:
            self._ids = {}  # no id is used twice, so dropping them only ends a pack early
        # Both calls are atomic: two threads at once may waste an id, but never give one id to two routes.
        return self._ids.setdefault(hits, next(self._next_id))


class Interest:
    """The state machine above. Only the holder of the outgoing socket may change it; any thread may read `routes`."""

    def __init__(self) -> None:
        #: The routes that follow from the interest now; replaced with each change.
        self.routes = Routes(None)
        #: Frames that are not subscriptions, and subscriptions over the limits.
        self.rejected = 0
        #: How often the link was lost.
        self.losses = 0
        self._wanted: set[bytes] = set()
        self._stale: set[bytes] = set()
        self._reserved: set[bytes] = set()
        self._lengths: dict[int, int] = {}
        self._stale_until = 0.0

    @property
    def up(self) -> bool:
        """Whether the link is up and its replay complete: an event sent now reaches all its subscribers."""
        return UP in self._reserved and END in self._reserved

    def __len__(self) -> int:
        return len(self._wanted)

    def has(self, prefix: bytes) -> bool:
        """Whether a node on the *present* link has subscribed exactly `prefix`."""
        return prefix in self._reserved or (prefix in self._wanted and prefix not in self._stale)

    def wanted(self) -> frozenset[bytes]:
        """The wanted prefixes, stale ones included, without the reserved ones."""
        return frozenset(self._wanted)

    def read(self, batch: Sequence[bytes], now: float) -> None:
        """Apply a batch: all one-frame messages that could be read from the XPUB at once."""
        start = 0
        if _UP_REMOVED in batch:
            # The frames up to the end of the withdrawal are of the lost link. Its additions count, because a subscriber
            # wanted them; its removals do not.
            start = 1 + max(index for index, frame in enumerate(batch) if frame in (_UP_REMOVED, _END_REMOVED))
            self._apply([frame for frame in batch[:start] if frame[:1] == SUBSCRIBE])
            self.losses += 1
            self._reserved.clear()
            self._stale = self._wanted.copy()
            self._stale_until = now + STALE_SECONDS
        was_up = self.up
        self._apply(batch[start:])
        if self.up and not was_up:
            self._stale_until = now + STALE_SECONDS
        self._replace_routes()

    def expire(self, now: float) -> None:
        """Drop the stale prefixes once their subscribers have had time to come back."""
        if self._stale and self.up and now >= self._stale_until:
            for prefix in self._stale:
                self._discard(prefix)
            self._stale = set()
            self._replace_routes()

    def _replace_routes(self) -> None:
        self.routes = Routes(self._wanted, self._lengths) if self.up else Routes(None)

    def _apply(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            verb, prefix = frame[:1], frame[1:]
            if verb not in (SUBSCRIBE, UNSUBSCRIBE) or len(prefix) > MAX_PREFIX:
                self.rejected += 1
            elif prefix[:1] == RESERVED or prefix == END:
                self._apply_reserved(verb, prefix)
            elif verb == UNSUBSCRIBE:
                if prefix not in self._stale:
                    self._discard(prefix)
            elif prefix in self._wanted:
                self._stale.discard(prefix)
            elif len(self._wanted) < MAX_PREFIXES:
                self._wanted.add(prefix)
                self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
            else:
                self.rejected += 1

    def _apply_reserved(self, verb: bytes, prefix: bytes) -> None:
        if verb == UNSUBSCRIBE:
            self._reserved.discard(prefix)
        elif len(self._reserved) < MAX_RESERVED:
            self._reserved.add(prefix)
        else:
            self.rejected += 1

    def _discard(self, prefix: bytes) -> None:
        if prefix in self._wanted:
            self._wanted.discard(prefix)
            size = len(prefix)
            self._lengths[size] -= 1
            if not self._lengths[size]:
                del self._lengths[size]
