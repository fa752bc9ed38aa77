"""Mirror: publishes the events of another system, taken from its emit functions or from the frames that carry them.

    mirror = Mirror(fabric.publish, "tui")
    server.emit = mirror.emitter(server.emit)               # emit(event, session_id, payload)  ▸ tui.<event>
    Mirror(fabric.publish, "gateway").hooks(registry)       # registry.emit("agent:start", …)   ▸ gateway.agent.start
    mirror.feed(frame)                                      # a frame from a socket: see `read_frame`

The other system is not affected: the original function gets its own arguments, and its result and exceptions pass
unchanged. An event that cannot be published (a name that is no topic, an invalid frame) is counted and dropped.

`type`, `ts` and `src` of a payload would replace those of the event, so they are renamed to `type_`, `ts_` and `src_`; so
is a key that would hide an id. A prefix is not repeated: `gateway:startup` with the prefix `gateway` is `gateway.startup`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from math import isfinite
from typing import Any, NamedTuple

import orjson

from fabric.protocol.envelope import Envelope
from fabric.protocol.topics import check_pattern, check_topic, matches

logger = logging.getLogger("fabric.mirror")

STAMPS = ("type", "ts", "src")
#: Bytes of a frame; characters, if it is a str.
MAX_FRAME = 10 * 1024 * 1024

Publish = Callable[[str, Mapping[str, Any] | None], object]


class _Dispatch:
    """A call of a dispatch function that is being mirrored. Tasks that it started may outlive it, and inherit it."""

    def __init__(self, registry: Any, event: Any, context: Any) -> None:
        self.registry = registry
        self.event = event
        self.context = context
        self.is_over = False

    def is_part_of(self, other: _Dispatch) -> bool:
        """Whether `other` runs, for the same event: then it has called this one, and both are one event."""
        same = self.registry is other.registry and self.event == other.event and self.context is other.context
        return same and not other.is_over


#: Dispatches that run in this context, the outermost first.
_running: ContextVar[tuple[_Dispatch, ...]] = ContextVar("fabric_mirror", default=())


# Pure


def topic_of(prefix: str, event: str, sep: str = ":") -> str:
    """The topic of an event: `sep` becomes a dot, and the prefix is put before it, once. ValueError if that is no topic."""
    if not isinstance(event, str):
        raise TypeError(f"an event's name is a str, not {type(event).__name__}")
    name = event.replace(sep, ".") if sep else event
    if prefix and name != prefix and not name.startswith(f"{prefix}."):
        name = f"{prefix}.{name}"
    return check_topic(name)


def flatten(ids: Mapping[str, Any], payload: Any) -> dict[str, Any]:
    """`ids` and the keys of the payload, as one dict. Keys that are stamps or ids are renamed (`type_`). A payload that is
    no mapping is left out, and so is an id that is None.
    """
    flat = {key: value for key, value in ids.items() if value is not None}
    if isinstance(payload, Mapping):
        for key, value in payload.items():
            taken = key in STAMPS or (key in flat and flat[key] != value)
            flat[f"{key}_" if taken else key] = value
    return flat


class Frame(NamedTuple):
    """A decoded frame: an event to be published, or, without a topic, the reason why it is ignored."""

    topic: str
    payload: dict[str, Any]
    #: `relay` or `event`; the reason, if it is ignored.
    kind: str


def read_frame(data: str | bytes, prefix: str, accept: Sequence[str] = ()) -> Frame:
    """Decode one frame. Total: any bytes or text make one.

        {"_bus_relay": true, "topic": …, "envelope": {…}}                   ▸ that topic, stamps kept
        {"method": "event", "params": {"type": …, "session_id", "payload"}} ▸ prefix.type, flattened

    `accept`: patterns of the topics that a relay may name; empty: all topics but the system's own.
    """
    try:
        if len(data) > MAX_FRAME:
            return _ignored("too_large")
        value = orjson.loads(data)
    except (orjson.JSONDecodeError, TypeError):
        return _ignored("no_json")
    if not isinstance(value, dict):
        return _ignored("unknown")
    try:
        if "_bus_relay" in value:
            return _relayed(value, accept)
        return _event(value, prefix)
    except (ValueError, TypeError):
        return _ignored("bad_topic")


def _relayed(value: dict[str, Any], accept: Sequence[str]) -> Frame:
    topic, envelope = value.get("topic"), value.get("envelope")
    if value["_bus_relay"] is not True or not isinstance(topic, str) or not isinstance(envelope, dict):
        return _ignored("bad_relay")
    check_topic(topic)
    if accept and not any(matches(pattern, topic) for pattern in accept):
        return _ignored("not_accepted")
    return Frame(topic, _with_valid_stamps(envelope), "relay")


def _with_valid_stamps(envelope: dict[str, Any]) -> Envelope:
    """Without invalid stamps, which `publish` then makes."""
    ts = envelope.get("ts")
    is_time = isinstance(ts, int | float) and not isinstance(ts, bool) and isfinite(ts)
    valid = {"ts": is_time, **{key: isinstance(envelope.get(key), str) for key in ("type", "src")}}
    return {key: value for key, value in envelope.items() if valid.get(key, True)}


def _event(value: dict[str, Any], prefix: str) -> Frame:
    params = value.get("params")
    if value.get("method") != "event" or not isinstance(params, dict):
        return _ignored("unknown")
    name = params.get("type")
    if not isinstance(name, str) or not name:
        return _ignored("no_type")
    return Frame(
        topic_of(prefix, name), flatten({"session_id": params.get("session_id")}, params.get("payload")), "event"
    )


def _ignored(reason: str) -> Frame:
    return Frame("", {}, reason)


# Publishing


class Mirror:
    """Publishes events of another system with `publish` (of a bus, a node, `fabric`), below `prefix`. Any thread."""

    def __init__(self, publish: Publish, prefix: str, *, accept: Sequence[str] = ()) -> None:
        """`accept`: see `read_frame`. ValueError for an invalid prefix or pattern."""
        self._publish = publish
        self._prefix = check_topic(prefix)
        self._accept = tuple(check_pattern(pattern) for pattern in accept)
        self._counts: dict[str, int] = {}
        #: Class names of errors that have been logged.
        self._logged: set[str] = set()

    def emitter(self, emit: Callable[..., Any], *, ids: Sequence[str] = ("session_id",)) -> Callable[..., Any]:
        """Wrap `emit(event, *ids, payload)`, sync or async: the event is published after it has returned without an error.

        Arguments are identified by their order: the event's name, then as many ids as there are names in `ids`, which are
        their keys in the published payload, then the payload.
        """
        names = _parameters(emit)

        def publish(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            event, *rest = _in_order(names, args, kwargs)
            known = dict(zip(ids, rest, strict=False))
            self._mirror(event, flatten(known, rest[len(ids)] if len(rest) > len(ids) else None))

        if inspect.iscoroutinefunction(emit):

            @functools.wraps(emit)
            async def mirrored_async(*args: Any, **kwargs: Any) -> Any:
                result = await emit(*args, **kwargs)
                self._guarded(publish, args, kwargs)
                return result

            return mirrored_async

        @functools.wraps(emit)
        def mirrored(*args: Any, **kwargs: Any) -> Any:
            result = emit(*args, **kwargs)
            self._guarded(publish, args, kwargs)
            return result

        return mirrored

    def hooks(self, registry: Any, *, sep: str = ":", methods: Sequence[str] | None = None) -> Callable[[], None]:
        """Publish the events that `registry` dispatches, before its handlers run. Returns a function that undoes it.

        `methods(event, context)` dispatch; by default all methods whose names begin with `emit`, so that none is
        forgotten. If one calls another for the same event, that is one event. AttributeError if there are none.
        """
        names = list(methods) if methods is not None else _emitters(registry)
        if not names:
            raise AttributeError(f"{type(registry).__name__} has no method that begins with emit: name them")
        before = {name: vars(registry).get(name, _MISSING) for name in names}
        for name in names:
            setattr(registry, name, self._hook(registry, getattr(registry, name), sep))

        def undo() -> None:
            for name, value in before.items():
                if value is _MISSING:
                    vars(registry).pop(name, None)
                else:
                    setattr(registry, name, value)

        return undo

    def _hook(self, registry: Any, dispatch: Callable[..., Any], sep: str) -> Callable[..., Any]:
        names = _parameters(dispatch)

        def enter(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], None]:
            event, context = (*_in_order(names, args, kwargs), None, None)[:2]
            running = _running.get()
            this = _Dispatch(registry, event, context)
            token = _running.set((*running, this))

            def leave() -> None:
                this.is_over = True
                _running.reset(token)

            if not any(this.is_part_of(each) for each in running):
                self._guarded(self._mirror, event, flatten({}, context), sep)
            return leave

        if inspect.iscoroutinefunction(dispatch):

            @functools.wraps(dispatch)
            async def hooked_async(*args: Any, **kwargs: Any) -> Any:
                leave = enter(args, kwargs)
                try:
                    return await dispatch(*args, **kwargs)
                finally:
                    leave()

            return hooked_async

        @functools.wraps(dispatch)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            leave = enter(args, kwargs)
            try:
                return dispatch(*args, **kwargs)
            finally:
                leave()

        return hooked

    def feed(self, frame: str | bytes) -> bool:
        """Publish the event of a frame (see `read_frame`); False, and counted, if it has none. Never raises."""
        try:
            read = read_frame(frame, self._prefix, self._accept)
            if not read.topic:
                self._count(f"ignored_{read.kind}")
                return False
            return self._published(read.topic, read.payload, read.kind)
        except Exception as error:
            self._failed(error)
            return False

    def stats(self) -> dict[str, int]:
        """Counts of events published: `mirrored`, `relay`, `event`; of frames `ignored_<reason>`; of errors: `failed`."""
        return dict(self._counts)

    def _mirror(self, event: Any, payload: dict[str, Any], sep: str = ":") -> None:
        self._published(topic_of(self._prefix, event, sep), payload, "mirrored")

    def _published(self, topic: str, payload: dict[str, Any], kind: str) -> bool:
        self._publish(topic, payload)
        self._count(kind)
        return True

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call it; an exception is counted and does not reach the other system."""
        try:
            return call(*arguments)
        except Exception as error:
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        self._count("failed")
        kind = type(error).__name__
        if kind not in self._logged:  # the first of each kind; others are only counted
            self._logged.add(kind)
            logger.warning("an event for %r could not be published: %s: %s", self._prefix, kind, error)

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1


_MISSING = object()


def _emitters(registry: Any) -> list[str]:
    return [name for name in dir(registry) if name.startswith("emit") and callable(getattr(registry, name))]


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Names of its parameters; empty if it has no signature."""
    try:
        return list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return []


def _in_order(names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments in the order of the parameters; an omitted one is None if another one follows, else missing."""
    found = list(args)
    left = dict(kwargs)
    for name in names[len(args) :]:
        if not left:
            break
        found.append(left.pop(name, None))
    return found
