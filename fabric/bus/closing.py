"""Mixins: leaving a `with` or `async with` block closes the object.

Closing         both call `close`, which does not block
AsyncClosing    `close` blocks, so `async with` awaits `aclose`
"""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """For classes with a method `close`."""

    def close(self) -> object:
        """Close the object."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class AsyncClosing(Closing):
    """For classes with a method `close` that blocks, and its awaitable twin `aclose`."""

    async def aclose(self) -> object:
        """Close the object."""
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()
