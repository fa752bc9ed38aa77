import asyncio

import pytest

from fabric.bus.closing import AsyncClosing, Closing


class Quick(Closing):
    def __init__(self):
        self.closed = []

    def close(self):
        self.closed.append("close")


class Slow(Quick, AsyncClosing):
    async def aclose(self):
        self.closed.append("aclose")


@pytest.mark.parametrize("kind", [Quick, Slow])
def test_the_end_of_a_block_closes_also_after_an_exception(kind):
    one = kind()
    with one as entered:
        assert (entered, one.closed) == (one, [])
    with pytest.raises(ZeroDivisionError), one:
        raise ZeroDivisionError
    assert one.closed == ["close", "close"]


@pytest.mark.parametrize(("kind", "how"), [(Quick, "close"), (Slow, "aclose")])
def test_the_end_of_an_async_block_closes_without_blocking(kind, how):
    async def main():
        async with kind() as one:
            assert one.closed == []
        return one.closed

    assert asyncio.run(main()) == [how]
