"""A small HTTP server for machines that ask every few seconds, which strangers cannot make big.

    accept ──▸ a free slot among `MAX_CONNECTIONS`? ──▸ a thread: one request, one answer, closed
       │                └─no──▸ the oldest connection is cut off
       └── each second: what is older than `REQUEST_TIMEOUT` is cut off

A timeout of the socket alone is not enough: whoever sends a byte every four seconds never runs into it. So connections
have an age, and whoever takes long makes room for others. What is served is a WSGI application, and it is called in a
thread of its own, never in one of the proxy's planes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
from socketserver import TCPServer
from time import monotonic
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

logger = logging.getLogger("fabric.proxy")

#: Requests served at a time. Two Prometheus servers and two health checks are four.
MAX_CONNECTIONS = 8
#: Seconds that a request may take from its connection to the end of its answer.
REQUEST_TIMEOUT = 10.0
#: Seconds that one read or write may take.
IO_TIMEOUT = 5.0
#: Seconds that a newcomer waits for the slot of the one that was cut off for it.
_EVICTION_TIMEOUT = 0.2
#: Seconds between two checks of the ages.
POLL_INTERVAL = 1.0
#: Seconds that `stop` waits for requests that are being answered.
STOP_TIMEOUT = 1.0
#: Seconds until the next accept after one that failed.
ACCEPT_RETRY_INTERVAL = 0.1


class _Request(WSGIRequestHandler):
    server: Httpd

    def setup(self) -> None:
        """See socketserver."""
        super().setup()
        self.connection.settimeout(self.server.io_timeout)

    def log_message(self, format: str, *args: Any) -> None:
        """A request is no event: there is one every few seconds."""

    def get_stderr(self) -> io.StringIO:
        """What wsgiref says of clients that went away is of no use to anybody."""
        return io.StringIO()


class Httpd(WSGIServer):
    """Serves `application` at (host, port) from `start` to `stop`; port 0 is a free one, and `port` says which.

    OSError if the address cannot be had. `everywhere`: all interfaces, of both IP versions where there are two.
    """

    request_queue_size = 64
    allow_reuse_address = True  # a restart must not wait for the connections of the last life
    allow_reuse_port = False  # … but two proxies at one port would share the scrapes

    def __init__(
        self,
        host: str,
        port: int,
        application: WSGIApplication,
        *,
        everywhere: bool = False,
        max_connections: int = MAX_CONNECTIONS,
        request_timeout: float = REQUEST_TIMEOUT,
        io_timeout: float = IO_TIMEOUT,
        poll_interval: float = POLL_INTERVAL,
    ) -> None:
        self.io_timeout = io_timeout
        self._request_timeout = request_timeout
        self._everywhere = everywhere and socket.has_dualstack_ipv6()
        if everywhere:
            self.address_family, bind_host = (
                (socket.AF_INET6, "::") if self._everywhere else (socket.AF_INET, "0.0.0.0")
            )
        else:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family, bind_host = found[0][0], str(found[0][4][0])
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(max_connections)
        self._threads: set[threading.Thread] = set()
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(poll_interval,), name="fabric-http", daemon=True
        )
        super().__init__((bind_host, port), _Request)
        self.set_app(application)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Serve, in threads of its own."""
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening, and cut off who is still there. Returns when all threads have ended, or after a second."""
        self._stopping.set()
        if self._acceptor.ident is not None:
            # Wakes the acceptor (on Linux), which else looks up once a second only.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.shutdown()
        self.server_close()
        with self._lock:
            threads = list(self._threads)
            for connection in self._open:
                _disconnect(connection)
        until = monotonic() + STOP_TIMEOUT
        for thread in threads:
            thread.join(max(until - monotonic(), 0.0))

    # socketserver's hooks

    def server_bind(self) -> None:
        """Bind; without the look-up of its own name that http.server does, which can take seconds."""
        if self._everywhere:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.port
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept. Where that fails (no descriptor is left) the next try waits: the connection that waits stays readable,
        and a thread that spins would take the GIL from the planes."""
        try:
            return self.socket.accept()
        except OSError:
            self._stopping.wait(ACCEPT_RETRY_INTERVAL)
            raise

    def service_actions(self) -> None:
        """Cut off who has been here too long; on the acceptor's thread, once a second and after each request."""
        now = monotonic()
        with self._lock:
            for connection, since in self._open.items():
                if now - since > self._request_timeout:
                    _disconnect(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in a thread, if there is a slot for it."""
        if not self._slots.acquire(blocking=False):
            with self._lock:
                if self._open:
                    _disconnect(min(self._open, key=self._open.__getitem__))
            if not self._slots.acquire(timeout=_EVICTION_TIMEOUT):
                self.shutdown_request(request)
                return
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="fabric-http-request", daemon=True
        )
        with self._lock:
            self._open[request] = monotonic()
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads; socketserver closes the connection
            self._forget(request, thread)
            self._slots.release()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are none; what an application gets wrong is its own to report."""
        logger.debug("a request from %s was not answered: %r", client_address, sys.exception())

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self._forget(request, threading.current_thread())
            self.shutdown_request(request)
            self._slots.release()

    def _forget(self, request: socket.socket, thread: threading.Thread) -> None:
        """From here on nobody else touches the connection."""
        with self._lock:
            del self._open[request]
            self._threads.discard(thread)


def _disconnect(connection: socket.socket) -> None:
    """End it for its thread, which closes it: a descriptor that is closed here might be somebody else's a moment later."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
