"""Messages that are nearly right, from a seed: what the fuzzers send. The same seed makes the same cases.

    valid message ─▸ frames dropped, doubled, swapped, inserted │ bits flipped, cut, grown │ values from the list of nasties

Left out is what libzmq 4.3.5 does not survive, or lets any peer do to any other (docs/security.md). No seed makes:

- ZMTP PING commands: with a full pipe they abort the process at either end;
- more connections at a time than there are descriptors: on ipc that aborts the process;
- the end (`00` + prefix, or CANCEL) of a subscription that somebody else has: XPUB ends it for them, too;
- messages of several frames upstream of which the first is a subscription: XPUB tears them, and what is left may swallow
  somebody's next subscription (tests/proxy/events/test_plane.py has what can be done about it);
- multiparts without end: they are unfinished, but short;
- to a node, ZMTP that is broken: a socket that *connects* gives up for good after that.

And what whoever may connect may do: STOP, and saying HELLO with another node's origin, or taking its name by `replace`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import orjson

from fabric.protocol.events import END, PROBE, UP
from tests.system import raw

#: What a run tries in total.
TOTAL = int(os.environ.get("FUZZ_CASES") or 100_000)
#: CI tries the same cases each time, so that it fails for what changed.
SEED = int(os.environ.get("FUZZ_SEED") or (1 if "CI" in os.environ else random.SystemRandom().randrange(2**32)))
#: What a batch of cases may put into pipes; less than any pipe holds, so that nothing may be lost.
BATCH = 1_000
SAID = f"FUZZ_SEED={SEED} FUZZ_CASES={TOTAL}\n"

NUMBERS = [
    b"0",
    b"-1",
    b"00",
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 15,
    b"9" * 400,
    b"18446744073709551616",
    b"\xd9\xa3",
]
JSON = [
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"{" * 50,
    b"[" * 2_000,
    b"[" * 1_200 + b"]" * 1_200,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"[" + b"[]," * 1_000 + b"[]]",
    b'{"ts":NaN}',
    b'{"ts":1e999,"ttl":-1}',
    b'{"ts":"x","ttl":[],"request":{}}',
    b'{"ttl":null,"ts":null}',
    b'{"a":1,"a":2}',
    b'{"\\ud800":1}',
    b'{"text":"\\u0000\\u001b[31m\\u202e"}',
    b'{"interest":[1,null,{}]}',
    b'{"interest":5}',
    b'{"recover":["a.b",1,9]}',
    b'{"recover":[1,"2",{}]}',
    b'{"trace":["x"]}',
    b'{"trace":"a..b"}',
    b'{"events":[[1,2,3]],"more":1}',
    b"\xef\xbb\xbf{}",
    b"{}\0",
]
NASTY = [
    b"",
    b"\0",
    b"\1",
    b"*",
    b" ",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"anonymous:",
    b"anonymous:\xe2\x80\xae",
    b"broadcast1",
    b"bare-peer",
    b"bare-peer\0\0\0\0\0",
    b"x" * 64,
    b"x" * 65,
    b"x" * 256,
    b"x" * 5_000,
    b"..",
    b"a..b",
    UP,
    END,
    PROBE,
    *NUMBERS,
    *JSON,
]


class Mutator:
    """Cases from a seed."""

    def __init__(self, name: str) -> None:
        self.random = random.Random(f"{SEED}:{name}")

    def like(self, groups: Sequence[Sequence[Sequence[bytes]]]) -> list[bytes]:
        """A message like one of one of these groups, and wrong in one to three ways, or (now and then) not at all."""
        frames = list(self.random.choice(self.random.choice(groups)))
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            self._change(frames)
        return frames or [b""]

    def _change(self, frames: list[bytes]) -> None:
        pick = self.random
        at = pick.randrange(len(frames)) if frames else 0
        match pick.randrange(8) if frames else 7:
            case 0:
                del frames[at]
            case 1:
                frames.insert(at, frames[at])
            case 2:
                other = pick.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            case 3:
                frames[at] = self.bytes(frames[at])
            case 4 | 5 | 6:
                frames[at] = pick.choice(NASTY)
            case _:
                frames.insert(at, pick.choice(NASTY))

    def bytes(self, data: bytes) -> bytes:
        """Bits flipped, cut short, grown, doubled, or others altogether."""
        pick = self.random
        match pick.randrange(6):
            case 0 | 1 if data:
                changed = bytearray(data)
                for _ in range(pick.choice((1, 1, 2, 8))):
                    changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
                return bytes(changed)
            case 2 if data:
                return data[: pick.randrange(len(data))]
            case 3:
                at = pick.randrange(len(data) + 1)
                return data[:at] + pick.choice(NASTY) + data[at:]
            case 4:
                return data + data
            case _:
                return pick.randbytes(pick.choice((1, 2, 8, 9, 30, 300)))


def shares(total: int, weights: dict[str, int]) -> dict[str, int]:
    """How many cases each part of a fuzzer gets."""
    whole = sum(weights.values())
    return {name: max(total * weight // whole, 1) for name, weight in weights.items()}


def batches(count: int) -> list[int]:
    """Numbers of cases that add up to `count`."""
    return [BATCH] * (count // BATCH) + [count % BATCH] * bool(count % BATCH)


#: Which socket, or whom, they are for.
CASES = shares(TOTAL, {"messages": 40, "events-in": 28, "events-out": 16, "connections": 4, "nodes": 12})


# Bytes below messages

HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n"
TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)


def connections(mutator: Mutator, kinds: Sequence[bytes]) -> bytes:
    """What one connection says before it is closed, or held open: a greeting and a handshake, or something like it."""
    pick = mutator.random
    kind = pick.choice(kinds)
    ready = raw.ready(kind)
    parts = [
        lambda: raw.GREETING,
        lambda: raw.GREETING + ready,
        lambda: mutator.bytes(raw.GREETING),
        lambda: mutator.bytes(raw.GREETING) + ready,
        lambda: raw.GREETING + mutator.bytes(ready),
        lambda: raw.GREETING[: pick.randrange(64)],
        lambda: raw.GREETING.replace(b"NULL", pick.choice((b"PLAIN", b"CURVE", b"GSSAPI", b"\xff" * 20)))[:64] + ready,
        lambda: raw.GREETING + raw.ready(pick.choice((b"REQ", b"PAIR", b"", b"x" * 300, b"STREAM"))),
        lambda: raw.GREETING + _identity(kind, pick.choice((b"same", b"same", b"", b"\0zero", b"x" * 300))),
        lambda: raw.GREETING + raw.frame(b"\x05ERROR" + bytes([pick.randrange(256)]) + b"no", command=True),
        lambda: HTTP,
        lambda: TLS,
        lambda: b"\xff" + bytes(8) + b"\x01\x01\x02\x00\x00",  # ZMTP 2
        lambda: b"\x01\x00",  # ZMTP 1
    ]
    return pick.choice(parts)() + _after(mutator)


def interruptions(mutator: Mutator, kind: bytes) -> bytes:
    """What a node may hear at its proxy's address before whoever listens there hangs up, and still come back."""
    pick = mutator.random
    whole = raw.GREETING + raw.ready(kind)
    return pick.choice(
        (
            b"",
            whole,
            whole[: pick.randrange(len(whole))],
            raw.GREETING + raw.frame(b"\x05ERROR\x02no", command=True),
            b"\xff" + bytes(8) + b"\x01\x01\x02\x00\x00",
            b"\x01\x00",
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            b"\x15\x03\x03\x00\x02\x02\x46",  # TLS: alert
            b"SSH-2.0-OpenSSH_9.2\r\n",
        )
    )


def unfinished(mutator: Mutator) -> bytes:
    """The beginning of a message, in the middle of which a proxy was killed."""
    pick = mutator.random
    return pick.choice(
        (
            raw.frame(pick.randbytes(200))[: pick.randrange(200)],
            raw.frame(b"x", more=True) * pick.randrange(10),
            raw.frame(b"a.b", more=True) + raw.frame(pick.randbytes(200))[: pick.randrange(200)],
        )
    )


def _identity(kind: bytes, routing_id: bytes) -> bytes:
    properties = b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
        for name, value in ((b"Socket-Type", kind), (b"Identity", routing_id))
    )
    return raw.frame(b"\x05READY" + properties, command=True)


def _after(mutator: Mutator) -> bytes:
    """What may follow a handshake: frames that are cut, too large, of no kind, or of a message that never ends."""
    pick = mutator.random
    choices: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: raw.frame(b"x" * 100)[: pick.randrange(102)],
        lambda: b"\x02" + pick.choice((b"\x7f" + b"\xff" * 7, b"\xff" * 8, bytes(4) + b"\x10\0\0\0")),
        lambda: bytes([pick.randrange(8, 256)]) + pick.randbytes(20),
        lambda: raw.frame(b"x", more=True) * pick.choice((1, 10, 500)),
        lambda: raw.frame(b"", more=True) * 3_000 + raw.frame(b""),
        lambda: raw.frame(
            pick.choice((b"\x09SUBSCRIBEq.", b"\x06CANCELq.", b"\x09SUBSCRIBE", b"\xffx", b"")), command=True
        ),
        lambda: pick.randbytes(200),
        lambda: raw.frame(orjson.dumps({"a": "b"})) * 20,
    ]
    return pick.choice(choices)()
