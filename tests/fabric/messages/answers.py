"""A stand-in for the session's shell, and messages that came through it."""

from __future__ import annotations

from fabric.messages.message import Message
from fabric.messages.session.outcomes import Arrived


class Answers:
    """Records what an endpoint, a message or a worker asks of the session's shell."""

    url = "ipc:///nowhere"

    def __init__(self):
        self.replies, self.errors, self.released = [], [], []

    def reply(self, arrived, value):
        self.replies.append((arrived.id, value))
        return True

    def reply_error(self, arrived, error):
        self.errors.append((arrived.id, error))
        return True

    def release(self, key):
        self.released.append(key)

    def may_block(self):
        pass


def message(answers, number=1, *, request=False):
    facts = {"type": "message", "id": f"m-{number}", "to": "me", "from": "you", "ts": 1.0, "body": {"n": number}}
    return Message(Arrived(1, "me", f"m-{number}", facts, request, 0.0), answers)
