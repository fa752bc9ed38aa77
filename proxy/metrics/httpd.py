"""A small HTTP server for monitoring, with bounded connections, threads and times.

    accept ──▸ a free slot among `MAX_CONNECTIONS`? ──▸ a thread: one request, one answer, closed
       │                └─no──▸ the oldest connection is cut off
       └── each second: connections older than `REQUEST_TIMEOUT` are cut off

A timeout of the socket is not enough: a client that sends a byte every four seconds never exceeds it. So connections have a
maximum age, and slow clients make room for new ones. The WSGI application is called in a thread of its own, never on a
thread of the planes.
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

#: Connections at a time. Two Prometheus servers and two health checks need four.
MAX_CONNECTIONS = 8
#: Seconds from the accept to the end of the answer.
REQUEST_TIMEOUT = 10.0
#: Seconds for one read or write.
IO_TIMEOUT = 5.0
#: Seconds that a new connection waits for the slot of the one that was cut off for it.
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
        """Log nothing: there is a request every few seconds."""

    def get_stderr(self) -> io.StringIO:
        """Discards the tracebacks that wsgiref writes when a client disconnects."""
        return io.StringIO()


class Httpd(WSGIServer):
    """Serves `application` at (host, port) from `start` to `stop`; port 0: a free one, see the attribute `port`.

    `everywhere`: all interfaces, of both IP versions if there are two. OSError if the address cannot be bound.
    """

    request_queue_size = 64
    allow_reuse_address = True  # a restarted proxy need not wait for connections of the last one
    allow_reuse_port = False  # two proxies at one port would each get some of the scrapes

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
        """The port of the listener."""
        return int(self.socket.getsockname()[1])

    def start(self) -> None:
        """Start the acceptor thread."""
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening, and cut off all connections. Returns when all threads have ended, or after `STOP_TIMEOUT`."""
        self._stopping.set()
        if self._acceptor.ident is not None:
            # Wakes the acceptor (on Linux), which otherwise polls once a second.
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
        """Bind without the name look-up of http.server, which can take seconds."""
        if self._everywhere:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.port
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept. After a failure (no descriptor is left) wait before the next try: the listener stays readable, and a
        spinning thread would take the GIL from the planes."""
        try:
            return self.socket.accept()
        except OSError:
            self._stopping.wait(ACCEPT_RETRY_INTERVAL)
            raise

    def service_actions(self) -> None:
        """Cut off connections that are too old. On the acceptor's thread, once a second and after each request."""
        now = monotonic()
        with self._lock:
            for connection, since in self._open.items():
                if now - since > self._request_timeout:
                    _disconnect(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in a thread, in a free slot or in that of the oldest connection."""
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
        except RuntimeError:  # no thread can be started; socketserver closes the connection
            self._forget(request, thread)
            self._slots.release()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is not an error; errors of the application are logged by the application."""
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
        """From here on no other thread uses the connection."""
        with self._lock:
            del self._open[request]
            self._threads.discard(thread)


def _disconnect(connection: socket.socket) -> None:
    """Shut a connection down. Its own thread closes it: closed here, its descriptor could be reused while in use there."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
