"""A name that receives addressed messages.

    inbox = node.endpoint("lead-agent")                       # take messages from the inbox …
    for message in inbox: message.reply({"ok": True})

    node.endpoint("adder", lambda m: m["body"]["a"] + m["body"]["b"])      # … or have them handled

    registering ──▸ registered ◂──▸ (reconnecting) ──replaced, taken──▸ lost       close ──▸ closed
         └──name taken──▸ failed

A message is acknowledged when it is in the inbox. If the inbox is full the message is refused, and its sender gets
`EndpointBusy`. A sync handler runs on a thread of the endpoint's own, in order; an async one on the loop that ran when the
endpoint was made. `max_workers` allows more at a time (`fabric.messages.workers`). The handler's return value answers a
request; its exception is logged, and raises `RemoteError` at the requester.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from fabric.bus.buffer import Buffer
from fabric.bus.closing import Closing
from fabric.bus.waiter import Promise
from fabric.errors import Closed, MessageError, NotReady
from fabric.messages.message import Answers, Handler, Message
from fabric.messages.workers import HandlerWorkers


class Endpoint(Closing, Iterator[Message], AsyncIterator[Message]):
    """Made by `node.endpoint`. Every method may be called on any thread."""

    def __init__(
        self, name: str, handler: Handler | None, *, max_inbox: int, max_workers: int, answers: Answers
    ) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers is at least 1, not {max_workers}")
        #: Its name; with policy `suffix` final once it is registered.
        self.name = name
        self.state = "registering"
        #: Changes only when a proxy does not know us any more.
        self.session = ""
        self.key = -1
        self._inbox: Buffer[Message] = Buffer(f"the inbox of {name!r}", max_inbox)
        self._answers = answers
        self._registered: Promise[None] = Promise()
        self._put = 0  # written by the control thread only
        self._workers = HandlerWorkers(name, handler, self._inbox, max_workers) if handler is not None else None

    # Registration

    def wait_ready(self, timeout: float = 5.0) -> None:
        """Block until the name is ours. NameTaken if it is somebody else's, NotReady when `timeout` seconds are over."""
        if not self._registered.done:
            self._answers.may_block()
        if not self._registered.wait(timeout):
            raise self._not_ready(timeout)
        self._registered.result()

    async def ready(self, timeout: float = 5.0) -> None:
        """The awaitable twin of `wait_ready`."""
        import asyncio

        try:
            await asyncio.wait_for(self._registered, timeout)
        except TimeoutError:
            raise self._not_ready(timeout) from None

    def _not_ready(self, timeout: float) -> NotReady:
        return NotReady(f"the endpoint {self.name!r}", url=self._answers.url, waited=timeout)

    def registered(self, name: str, session: str) -> None:
        """For the session's shell."""
        self.name, self.session, self.state = name, session, "registered"
        self._registered.set(None)

    def lost(self, error: MessageError | Closed, state: str) -> None:
        """For the session's shell: the name was not granted, or is not ours any more."""
        self.state = state
        self._inbox.close(error)
        self._registered.fail(error)

    def forked(self, error: Closed) -> None:
        """For the session's shell: this process is a fork's child; the messages in the inbox are the parent's to handle."""
        self.state = "closed"
        self._inbox.take_all()
        self._inbox.close(error)

    # Receiving

    def put(self, message: Message, *, wake: bool = True) -> bool:
        """For the control thread: False if the inbox is full. Without `wake`, a call of `wake` must follow."""
        self._put += 1  # first: a handler may finish the message before the next line
        if self._inbox.put(message, wake=wake):
            return True
        self._put -= 1
        return False

    def wake(self) -> None:
        """For the control thread: wake a waiter for the messages that were put."""
        self._inbox.wake()

    def __len__(self) -> int:
        """Number of messages that wait in the inbox."""
        return len(self._inbox)

    def __bool__(self) -> bool:
        return True

    def poll(self) -> list[Message]:
        """Take all messages that are in the inbox now."""
        return self._inbox.take_all()

    def receive(self, timeout: float | None = None) -> Message:
        """The next message. TimeoutError after `timeout` seconds without one; Closed, or the error that ended the name."""
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

    # Leaving

    @property
    def handled(self) -> int:
        """Number of messages that the handler has finished with."""
        return self._workers.handled if self._workers is not None else 0

    @property
    def unhandled(self) -> int:
        """Number of messages in the inbox or at the handler; 0 without a handler."""
        if self._workers is None:
            return 0
        handled = (
            self._workers.handled
        )  # read first: a message that is finished meanwhile counts as unhandled, at worst
        return self._put - handled

    @property
    def may_wait(self) -> bool:
        """Whether this thread may wait for the handler: not if it runs the handler, nor if no thread runs its loop."""
        return self._workers is None or self._workers.may_wait

    def retire(self) -> None:
        """Release the name, and let the handler finish the messages in the inbox."""
        if self.state not in ("closed", "lost", "failed"):
            self._answers.release(self.key)
            self.state = "closed"

    def close(self) -> None:
        """Release the name. The messages in the inbox can still be taken, and are still handled."""
        self.retire()
        self.lost(Closed(f"the endpoint {self.name!r} was closed"), "closed")

    def __repr__(self) -> str:
        return f"<Endpoint {self.name!r} {self.state}>"
