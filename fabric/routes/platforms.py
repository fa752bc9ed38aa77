"""Platforms: the senders, the default chat and the policy of each, and what they mean for a channel.

feishu:oc_1 ──▸ platform feishu ──▸ its senders in order, chat oc_1, its policy
feishu      ──▸ platform feishu ──▸ the same, with its default chat: set, or FEISHU_HOME_CHANNEL in the environment
"""

from __future__ import annotations

import os
import threading
from dataclasses import fields, replace
from typing import Any

from fabric.routes.batch import ChannelSenders, PlatformSender, Policy
from fabric.routes.model import home_variable, split
from fabric.routes.sender_call import Send, SenderCalls


class Platforms:
    """All platforms of a router. Any thread."""

    def __init__(self, policy: Policy) -> None:
        """`policy` is that of platforms without one of their own."""
        self._policy = policy
        self._senders: dict[str, tuple[PlatformSender, ...]] = {}
        self._defaults: dict[str, str] = {}
        self._policies: dict[str, Policy] = {}
        self._lock = threading.Lock()

    def register(
        self, platform: str, send: Send, *, name: str, timeout: float, needs_chat: bool | None, concurrency: int
    ) -> None:
        """See `Router.register`."""
        if not platform or ":" in platform or platform != platform.strip():
            raise ValueError(f"{platform!r} is no platform's name: no colon, no space around it, and not empty")
        if timeout <= 0 or concurrency < 1:
            raise ValueError(f"a sender has some seconds, and one call at least, not {timeout!r} and {concurrency!r}")
        if needs_chat is None:
            needs_chat = bool(getattr(send, "needs_chat", True))
        name = name or str(getattr(send, "name", "") or getattr(send, "__qualname__", "") or type(send).__name__)
        sender = PlatformSender(name, SenderCalls(send, name), timeout, needs_chat, concurrency)
        with self._lock:
            self._senders[platform] = (*self._senders.get(platform, ()), sender)

    def configure(self, platform: str, default: str | None, policy: dict[str, Any]) -> None:
        """See `Router.platform`."""
        unknown = policy.keys() - {each.name for each in fields(Policy)}
        if unknown:
            raise TypeError(f"a policy has no {sorted(unknown)[0]!r}")
        with self._lock:
            if default is not None:
                self._defaults[platform] = default
            if policy:
                self._policies[platform] = replace(self._policies.get(platform, self._policy), **policy)

    @property
    def names(self) -> list[str]:
        """Platforms that have a sender."""
        return sorted(self._senders)

    def problem_with(self, channel: str) -> str:
        """Why nothing can be sent to the channel; empty if its platform has a sender."""
        try:
            platform = split(channel).platform
        except (ValueError, TypeError) as error:
            return str(error)
        if platform not in self._senders:
            known = ", ".join(self.names)
            return f"nobody sends to {platform!r}; " + (f"there are: {known}" if known else "no platform has a sender")
        return ""

    def resolve(self, channel: str) -> ChannelSenders:
        """The senders, chat and policy of a channel now."""
        platform, chat = split(channel)
        with self._lock:
            chat = chat or self._defaults.get(platform) or os.environ.get(home_variable(platform), "").strip()
            return ChannelSenders(self._senders.get(platform, ()), chat, self._policies.get(platform, self._policy))

    def stats(self) -> dict[str, list[dict[str, Any]]]:
        """By platform the senders in order, each with `name`, and its calls that `sent`, `failed`, run, and hang."""
        return {
            platform: [
                {"name": each.name} | {key: getattr(each, key) for key in ("sent", "failed", "calls", "hanging")}
                for each in senders
            ]
            for platform, senders in self._senders.items()
        }

    def forked(self) -> None:
        """In the child of a fork: the calls that ran are the parent's."""
        self._lock = threading.Lock()
        for sender in self._all():
            sender.calls = sender.hanging = 0
            sender.queue.clear()
            sender.send.forked()

    def close(self) -> None:
        """Close the senders."""
        with self._lock:
            senders = self._all()
        for sender in senders:
            sender.send.close()

    def _all(self) -> list[PlatformSender]:
        return [sender for senders in self._senders.values() for sender in senders]
