"""A name that receives addressed messages.

    inbox = node.endpoint("lead-agent")                       # take messages when you like …
    for message in inbox: message.reply({"ok": True})

    node.endpoint("adder", lambda m: m["body"]["a"] + m["body"]["b"])      # … or have them handled

    registering ──▸ registered ◂──▸ (reconnecting) ──replaced, taken──▸ lost       close ──▸ closed
         └──name taken──▸ failed

A message is acknowledged when it is in the inbox; when that is full it is refused, and its sender told `EndpointBusy`.
A sync handler runs on a thread of the endpoint's own, in order; an async one on the loop that ran when the endpoint was
made. `max_workers` allows more at a time. What a handler returns answers a request; what it raises is logged, and
raises `RemoteError` at the asker.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from fabric.bus.buffer import Buffer
from fabric.bus.loop_queue import running_loop
from fabric.errors import Closed, FabricError, MessageError, NotReady
from fabric.messages.session.outcomes import Arrived

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("fabric.endpoint")


class NotAnswered(Exception):
    """The holder answers no requests. An asker sees the name of this class as the type of its `RemoteError`."""


class Answers(Protocol):
    """What an endpoint needs of the session's shell."""

    url: str

    def reply(self, arrived: Arrived, value: Any) -> bool:
        """Answer a request; False if it was answered, or is too old. BadMessage if the value cannot be carried."""

    def reply_error(self, arrived: Arrived, error: BaseException) -> bool:
        """Answer a request with what its handler raised."""

    def release(self, key: int) -> None:
        """Give a name back."""

    def may_block(self) -> None:
        """RuntimeError on threads where waiting would never end."""


class Message(dict[str, Any]):
    """What arrives: `{"type": "message", "id", "to", "from", "ts", "body"}`, with the usual questions as attributes."""

    def __init__(self, arrived: Arrived, answers: Answers) -> None:
        super().__init__(arrived.message)
        self._arrived = arrived
        self._answers = answers

    @property
    def id(self) -> str:
        """The sender's id for it; a handler sees each id once."""
        return str(self["id"])

    @property
    def sender(self) -> str:
        """The endpoint that sent it, stamped by the proxy; `anonymous:…` if it came from none."""
        return str(self["from"])

    @property
    def body(self) -> dict[str, Any]:
        """What was sent."""
        return cast("dict[str, Any]", self["body"])

    @property
    def is_request(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._arrived.request

    def reply(self, value: Any) -> bool:
        """Answer, with any JSON value. False if nobody waits: no request, answered before, or too late.

        BadMessage or MessageTooLarge if `value` cannot be carried. Any thread.
        """
        return self.is_request and self._answers.reply(self._arrived, value)

    def fail(self, error: Exception) -> bool:
        """Answer with an error, as if a handler had raised it: RemoteError at the asker. False as for `reply`."""
        return self.is_request and self._answers.reply_error(self._arrived, error)


Handler = Callable[[Message], Any]


class Endpoint(Iterator[Message], AsyncIterator[Message]):
    """Made by `node.endpoint`. Every method may be called on any thread."""

    def __init__(
        self, name: str, handler: Handler | None, *, max_inbox: int, max_workers: int, answers: Answers
    ) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers is at least 1, not {max_workers}")
        #: The name it has; with policy `suffix` known for sure once it is registered.
        self.name = name
        self.state = "registering"
        #: Changes when the proxy does not know us any more, and never while it does.
        self.session = ""
        self.key = -1
        self._inbox: Buffer[Message] = Buffer(f"the inbox of {name!r}", max_inbox)
        self._answers = answers
        self._handler = handler
        self._registered: Future[None] = Future()
        self._workers = max_workers
        self._counting = threading.Lock()  # around the next two
        self._taken_in = 0
        self._handled = 0
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        if handler is not None:
            self._start_workers(handler)

    # Registration

    def wait_ready(self, timeout: float = 5.0) -> None:
        """Block until the name is ours. NameTaken if it is somebody else's, NotReady when `timeout` seconds are over."""
        if not self._registered.done():
            self._answers.may_block()
        try:
            self._registered.result(timeout)
        except FutureTimeout:
            raise self._not_ready(timeout) from None

    async def ready(self, timeout: float = 5.0) -> None:
        """The awaitable twin of `wait_ready`."""
        import asyncio

        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._registered)), timeout)
        except TimeoutError:
            raise self._not_ready(timeout) from None

    def _not_ready(self, timeout: float) -> NotReady:
        return NotReady(f"the endpoint {self.name!r}", url=self._answers.url, waited=timeout)

    def registered(self, name: str, session: str) -> None:
        """For the session's shell."""
        self.name, self.session, self.state = name, session, "registered"
        if not self._registered.done():
            self._registered.set_result(None)

    def lost(self, error: MessageError | Closed, state: str) -> None:
        """For the session's shell: the name was not to be had, or is not ours any more."""
        self.state = state
        self._inbox.close(error)
        if not self._registered.done():
            self._registered.set_exception(error)
            self._registered.exception()  # whoever does not wait for it finds it in the log

    def forked(self, error: Closed) -> None:
        """For the session's shell: we are a fork's child, and what is in the inbox is the parent's to handle."""
        self._counting = threading.Lock()
        self.state = "closed"
        self._inbox.take_all()
        self._inbox.close(error)

    # Receiving

    def put(self, message: Message, *, wake: bool = True) -> bool:
        """For the session's shell: False if the inbox is full. Without `wake`, `wake` must follow."""
        if not self._inbox.put(message, wake=wake):
            return False
        with self._counting:
            self._taken_in += 1
        return True

    def wake(self) -> None:
        """For the session's shell: let somebody take what was put."""
        self._inbox.wake()

    def __len__(self) -> int:
        """How many messages wait in the inbox."""
        return len(self._inbox)

    def __bool__(self) -> bool:
        return True

    def poll(self) -> list[Message]:
        """What is in the inbox now."""
        return self._inbox.take_all()

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. TimeoutError after `timeout` seconds without one; Closed, or why the name was lost."""
        return self._inbox.get(timeout)

    async def areceive(self, timeout: float | None = None) -> Message:
        """The awaitable twin of `receive`."""
        return await self._inbox.aget(timeout)

    def __iter__(self) -> Endpoint:
        return self

    def __next__(self) -> Message:
        try:
            return self._inbox.get()
        except Closed:
            raise StopIteration from None

    def __aiter__(self) -> Endpoint:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self._inbox.aget()
        except Closed:
            raise StopAsyncIteration from None

    # Handling

    def _start_workers(self, handler: Handler) -> None:
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        if not is_async:
            for _ in range(self._workers):
                thread = threading.Thread(target=self._work, args=(handler,), name=f"fabric-{self.name}", daemon=True)
                self._threads.append(thread)
                thread.start()
            return
        loop = self._loop = running_loop()
        if loop is None:
            raise RuntimeError(
                f"the async handler of {self.name!r} needs an event loop: call node.endpoint() inside a coroutine"
            )
        for _ in range(self._workers):
            task = loop.create_task(self._work_async(handler))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _work(self, handler: Handler) -> None:
        while True:
            try:
                message = self._inbox.get()
            except FabricError:
                return
            try:
                value = handler(message)
                if inspect.iscoroutine(value):
                    value.close()
                    raise TypeError("the handler returned a coroutine: give an `async def` itself")
                self._answer(message, value)
            except BaseException as error:  # sys.exit(), too: it would end this thread, and leave the name without one
                self._failed(message, error)
            self._done()

    async def _work_async(self, handler: Callable[[Message], Awaitable[Any]]) -> None:
        while True:
            try:
                message = await self._inbox.aget()
            except FabricError:
                return
            try:
                self._answer(message, await handler(message))
            except Exception as error:
                self._failed(message, error)
            self._done()

    def _done(self) -> None:
        with self._counting:
            self._handled += 1

    def _answer(self, message: Message, value: Any) -> None:
        if message.is_request:
            message.reply(value)

    def _failed(self, message: Message, error: BaseException) -> None:
        facts = (self.name, message.id, message.sender)
        logger.error("the handler of %r failed on message %s from %r", *facts, exc_info=error)
        if message.is_request:
            self._answers.reply_error(message._arrived, error)

    # Leaving

    @property
    def handled(self) -> int:
        """Messages that the handler has finished with."""
        return self._handled

    @property
    def unhandled(self) -> int:
        """Messages that were taken in, and that the handler has not finished with; 0 without a handler."""
        if self._handler is None:
            return 0
        with self._counting:
            return self._taken_in - self._handled

    @property
    def may_wait(self) -> bool:
        """Whether this thread may wait for the handler: not if it is the one that runs it, nor if none runs it."""
        if self._loop is not None:
            return self._loop.is_running() and running_loop() is not self._loop
        return threading.current_thread() not in self._threads

    def retire(self) -> None:
        """Give the name back, and let the handler finish what is in the inbox."""
        if self.state not in ("closed", "lost", "failed"):
            self._answers.release(self.key)
            self.state = "closed"

    def close(self) -> None:
        """Give the name back. What is in the inbox can still be taken, and is still handled."""
        self.retire()
        self.lost(Closed(f"the endpoint {self.name!r} was closed"), "closed")

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Endpoint {self.name!r} {self.state}>"
