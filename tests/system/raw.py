"""A peer that speaks ZMTP byte by byte, and so can say what no ZeroMQ socket would."""

import socket

from fabric.config.address import parse_address

#: Signature, version 3.0, mechanism NULL, no server, filler.
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)


def connect(url, port=0, name=""):
    """A plain socket to one of the proxy's endpoints: `port` above the first one, or the `name` in its directory."""
    address = parse_address(url)
    if address.directory is None:
        return socket.create_connection((address.host, address.port + port), timeout=5)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(5)
    plain.connect(str(address.directory / name))
    return plain


def frame(body, *, more=False, command=False):
    """One ZMTP 3 frame."""
    flags = (1 if more else 0) | (4 if command else 0)
    if len(body) > 255:
        return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


def message(*bodies):
    """All frames of one message."""
    return b"".join(frame(body, more=index < len(bodies)) for index, body in enumerate(bodies, 1))


def ready(kind):
    """The READY command of a socket of that kind."""
    metadata = b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return frame(b"\x05READY" + metadata, command=True)


class Peer:
    """A connection whose handshake is over: `kind` is SUB, XSUB, PUB, XPUB, DEALER …"""

    def __init__(self, url, name, kind=b"SUB", port=0):
        self.socket = connect(url, port, name)
        self.socket.sendall(GREETING)
        self._read(64)
        self.socket.sendall(ready(kind))
        self._read(1)
        self._read(self._read(1)[0])

    def _read(self, count):
        got = b""
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise ConnectionError("the other end closed")
            got += part
        return got

    def send(self, *frames):
        """One message."""
        self.socket.sendall(message(*frames))

    def send_bytes(self, data):
        """Anything at all."""
        self.socket.sendall(data)

    def hung_up(self, deadline=5.0):
        """Whether the other end closes within `deadline` seconds."""
        self.socket.settimeout(deadline)
        try:
            while self.socket.recv(65_536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
