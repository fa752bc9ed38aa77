"""The message that an endpoint gets, and its answer.

{"type": "message", "id", "to", "from", "ts", "body"}       also "redelivered": True, if it was in doubt before
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from fabric.messages.session.outcomes import Arrived


class NotAnswered(Exception):
    """The holder answers no requests. A requester gets the name of this class as the type of its `RemoteError`."""


class Answers(Protocol):
    """The part of the session's shell that an endpoint and its messages use."""

    url: str

    def reply(self, arrived: Arrived, value: Any) -> bool:
        """Answer a request; False if it was answered, or is too old. BadMessage if the value cannot be carried."""

    def reply_error(self, arrived: Arrived, error: BaseException) -> bool:
        """Answer a request with its handler's exception. False as for `reply`."""

    def release(self, key: int) -> None:
        """Release the name of registration `key`."""

    def may_block(self) -> None:
        """RuntimeError on threads where waiting would never end."""


class Message(dict[str, Any]):
    """A message as a dict, with its most used facts as attributes."""

    def __init__(self, arrived: Arrived, answers: Answers) -> None:
        super().__init__(arrived.message)
        self._arrived = arrived
        self._answers = answers

    @property
    def id(self) -> str:
        """The sender's id of the message. A handler gets each id once."""
        return str(self["id"])

    @property
    def sender(self) -> str:
        """The endpoint that sent it, stamped by the proxy; `anonymous:…` if it came from none."""
        return str(self["from"])

    @property
    def body(self) -> dict[str, Any]:
        """The body, as it was sent."""
        return cast("dict[str, Any]", self["body"])

    @property
    def is_request(self) -> bool:
        """Whether its sender waits for an answer."""
        return self._arrived.request

    def reply(self, value: Any) -> bool:
        """Answer with any JSON value. False if it is no request, was answered before, or is too old.

        BadMessage or MessageTooLarge if `value` cannot be carried. Any thread.
        """
        return self.is_request and self._answers.reply(self._arrived, value)

    def fail(self, error: BaseException) -> bool:
        """Answer with an error, as if a handler had raised it: RemoteError at the requester. False as for `reply`."""
        return self.is_request and self._answers.reply_error(self._arrived, error)


Handler = Callable[[Message], Any]
