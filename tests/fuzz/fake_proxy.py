"""What stands where a proxy does, and says to its nodes whatever a test wants: ZMTP by hand, at the same three sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from fabric.testing import wait_until
from tests.system import raw

#: Socket of the proxy → what it says it is.
SOCKETS = {"messages": b"ROUTER", "events-in": b"XSUB", "events-out": b"XPUB"}
_MORE, _LONG, _COMMAND = 1, 2, 4


class Connection:
    """One node's connection to one socket, handshake over. What the node sends is read by a thread, and kept."""

    def __init__(self, plain: socket.socket, kind: bytes) -> None:
        self._plain = plain
        self._file = plain.makefile("rb")
        plain.sendall(raw.GREETING)
        self._take(64)
        plain.sendall(raw.ready(kind))
        self._take(self._take(2)[1])  # READY, which is short
        self.received: deque[list[bytes]] = deque()
        self.open = True
        self._thread = threading.Thread(target=self._read, name="fake-proxy")
        self._thread.start()

    def send(self, *frames: bytes) -> None:
        """One message."""
        self.send_bytes(encode(frames))

    def send_bytes(self, data: bytes) -> None:
        """Any number of messages, or of bytes that are none."""
        self._plain.sendall(data)

    def next(self) -> list[bytes]:
        """The next message of the node."""
        wait_until(lambda: self.received or not self.open, 20, "the node says something")
        assert self.received, "the node hung up"
        return self.received.popleft()

    def wait_for(self, *beginning: bytes) -> None:
        """Drop messages up to the one whose frames begin so."""
        while tuple(self.next()[: len(beginning)]) != beginning:
            pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._plain.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._file.close()
        self._plain.close()

    def _take(self, count: int) -> bytes:
        self._last = self._file.read(count)
        if len(self._last) < count:
            raise ConnectionError("the node hung up")
        return self._last

    def _read(self) -> None:
        frames: list[bytes] = []
        try:
            while True:
                flags = self._take(1)[0]
                size = int.from_bytes(self._take(8 if flags & _LONG else 1), "big")
                body = self._take(size) if size else b""
                if flags & _COMMAND:
                    continue
                frames.append(body)
                if not flags & _MORE:
                    self.received.append(frames)
                    frames = []
        except (OSError, ValueError):
            self.open = False


class FakeProxy:
    """Listens in `directory` as a proxy does."""

    def __init__(self, directory: Path) -> None:
        self._listening = {name: socket.socket(socket.AF_UNIX) for name in SOCKETS}
        for name, made in self._listening.items():
            made.bind(str(directory / name))
            made.listen(50)
            made.settimeout(10)

    def accept(self, name: str) -> socket.socket:
        """The next node that connects, which has heard nothing yet."""
        plain, _ = self._listening[name].accept()
        plain.settimeout(30)
        return plain

    @contextlib.contextmanager
    def serve(self, name: str) -> Iterator[Connection]:
        """The next node that connects, ready to talk to."""
        connection = Connection(self.accept(name), SOCKETS[name])
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        for made in self._listening.values():
            made.close()


def encode(frames: list[bytes] | tuple[bytes, ...]) -> bytes:
    """One message, as bytes."""
    last = len(frames) - 1
    return b"".join(raw.frame(frame, more=index < last) for index, frame in enumerate(frames))
