"""The WSGI application for metrics and health checks: pages for Prometheus, supervisors and load balancers.

    GET /metrics    the record of `proxy.stats` in Prometheus' text format, or in OpenMetrics on request
    GET /healthz    200 while the process and its planes work; 503 and the reason: restart it
    GET /readyz     200 once nodes can connect and the planes have answered; 503 before, and while it stops

All pages are read-only; HEAD is answered, any other method is 405. The table of metrics is in `proxy.metrics.table`, the
HTTP server in `proxy.metrics.httpd`. The client library, prometheus_client, makes the format; it is an extra, imported only
if metrics are enabled.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fabric.errors import ProxyError
from proxy.metrics.table import METRICS, Metric, Samples, exposition
from proxy.stats import ProxyStats

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    from proxy.metrics.httpd import Httpd

logger = logging.getLogger("fabric.proxy")

#: Seconds of silence of the planes, or seconds without a first answer after the start, until the proxy counts as stuck.
#: They are probed each second. A machine that swaps answers late, and a restart would make it later.
SILENCE_TIMEOUT = 10.0

#: Status, headers, body.
Page = tuple[str, list[tuple[str, str]], bytes]


def _host_and_port(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; port 0: a free one. ValueError for another text."""
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not host or (":" in bare) != (bare != host) or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ValueError(f"{listen!r} is not HOST:PORT, such as 127.0.0.1:9464, [::1]:9464, or *:9464 for everybody")
    return bare, int(port)


class Metrics:
    """Listens at `listen` (HOST:PORT) from the beginning, and answers from `start` to `close`, in its own threads.

    `stats` is called for each request. `silence` is the number of seconds since both planes answered, None if they never
    have. Both are called on the server's threads. With an empty `listen` nothing is served, and all methods do nothing.

    ProxyError if the client library is not installed, or if the address cannot be bound.
    """

    def __init__(
        self,
        listen: str,
        stats: Callable[[], ProxyStats],
        *,
        silence: Callable[[], float | None] = lambda: 0.0,
    ) -> None:
        self._stats = stats
        self._silence = silence
        #: Why nodes cannot connect; None: they can.
        self._not_ready: str | None = "starting"
        self._httpd: Httpd | None = None
        if listen:
            self._application = _prometheus(stats)
            self._httpd = self._bind(listen)

    def _bind(self, listen: str) -> Httpd:
        from proxy.metrics.httpd import Httpd  # imports http.server, which a proxy without metrics does not need

        try:
            host, port = _host_and_port(listen)
            return Httpd(host, port, self, everywhere=host == "*")
        except socket.gaierror as error:
            raise ProxyError(f"cannot serve metrics at {listen}: there is no such host ({error.strerror})") from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ProxyError(f"cannot serve metrics at {listen}: {why}") from None
        except ValueError as error:
            raise ProxyError(f"cannot serve metrics: {error}") from None

    @property
    def url(self) -> str:
        """URL of the metrics, with the actual port; empty if nothing is served."""
        if self._httpd is None:
            return ""
        host = str(self._httpd.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self._httpd.port}/metrics"

    def start(self) -> None:
        """Start to answer. `/readyz` is 503 until `ready`."""
        if self._httpd is not None:
            self._httpd.start()
            logger.info("metrics at %s", self.url)

    def ready(self) -> None:
        """Nodes can connect; `/readyz` may be 200."""
        self._not_ready = None

    def stopping(self) -> None:
        """The proxy is about to stop; `/readyz` is 503 from now on."""
        self._not_ready = "stopping"

    def close(self) -> None:
        """Close the listener, and within a second all connections."""
        if self._httpd is not None:
            self._httpd.stop()

    # Pages, on the server's threads

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""
        path, method = str(environ.get("PATH_INFO", "")), str(environ["REQUEST_METHOD"])
        try:
            status, headers, body = self._page(path, method, environ)
        except Exception as error:
            logger.error("%s was not answered: %r", path[:100].encode("unicode_escape").decode(), error)
            status, headers, body = _text("500 Internal Server Error", f"this failed, and the log says more: {error!r}")
        start_response(status, [*headers, ("Content-Length", str(len(body))), ("Server", "event-fabric")])
        return [] if method == "HEAD" else [body]

    def _page(self, path: str, method: str, environ: WSGIEnvironment) -> Page:
        if path not in ("/metrics", "/healthz", "/readyz"):
            return _text("404 Not Found", "here are /metrics, /healthz and /readyz")
        if method not in ("GET", "HEAD"):
            status, headers, body = _text("405 Method Not Allowed", "this can be read only: GET or HEAD")
            return status, [*headers, ("Allow", "GET, HEAD")], body
        if path == "/metrics":
            return _metrics_page(self._application, environ)
        return self._health_page(self._unhealthy if path == "/healthz" else self._unready)

    def _health_page(self, why_not: Callable[[ProxyStats], str | None]) -> Page:
        try:
            stats = self._stats()
            why = why_not(stats)
        except Exception as error:
            logger.error("a health check was not answered: %r", error)
            why = f"the proxy cannot tell how it is: {error!r}"
        if why:
            return _text("503 Service Unavailable", why)
        return _text("200 OK", f"ok: {stats.who}, up {stats.uptime:.0f} s at {stats.url}")

    def _unhealthy(self, stats: ProxyStats) -> str | None:
        silence = self._silence()
        if silence is None:
            return None if stats.uptime < SILENCE_TIMEOUT else "the planes have never answered: the proxy is stuck"
        if silence < SILENCE_TIMEOUT:
            return None
        return f"the planes have not answered for {silence:.0f} s: the proxy is stuck"

    def _unready(self, stats: ProxyStats) -> str | None:
        if why := self._not_ready or self._unhealthy(stats):
            return why
        return "starting: the planes have not answered yet" if self._silence() is None else None


def _text(status: str, text: str) -> Page:
    return status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")], f"{text}\n".encode()


def _metrics_page(application: WSGIApplication, environ: WSGIEnvironment) -> Page:
    """The answer of the client library to GET, as a page."""
    answer: list[Any] = []
    body = b"".join(
        application({**environ, "REQUEST_METHOD": "GET"}, lambda *started: answer.extend(started))  # type: ignore[arg-type]
    )
    status, headers = answer[:2]
    return str(status), list(headers), body


# The client library


def _prometheus(stats: Callable[[], ProxyStats]) -> WSGIApplication:
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
    except ImportError:
        raise ProxyError(
            "metrics need the package prometheus-client, which is not installed: pip install 'event-fabric[metrics]'"
        ) from None
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Collector(stats))
    application: WSGIApplication = make_wsgi_app(registry)
    return application


class _Collector:
    """Reads the record once for each scrape."""

    def __init__(self, stats: Callable[[], ProxyStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Called by the client library for each scrape."""
        return [_family(metric, samples) for metric, samples in exposition(self._stats())]

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Metrics without samples: the client library asks for them before the proxy runs."""
        return [_family(metric, []) for metric in METRICS]


def _family(metric: Metric, samples: Samples) -> CounterMetricFamily | GaugeMetricFamily:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
