"""Senders that come with the routes: a webhook, and a program.

    Webhook("https://hooks.example.com/${TOKEN}")
    Webhook(url, payload={"msgtype": "text", "text": {"content": "{text}"}}, expect={"errcode": 0})
    Program(["/usr/local/bin/send-it", "--fast"])

A webhook posts JSON. Success is a status of 2xx and, with `expect`, a JSON answer that contains at least that: many
services report a failure with status 200. Redirects are not followed, so that a text goes to no host but the configured
one. A URL may hold a secret, so no error, name or log record has more of it than the host. httpx is imported when the first
webhook is made.

A program has the delivery on its stdin as JSON, and as FABRIC_CHANNEL, FABRIC_PLATFORM, FABRIC_CHAT, FABRIC_TEXT, FABRIC_ID
and FABRIC_ATTEMPT in its environment. A shell script must quote them: the text is foreign. Exit status 0 is success.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

import orjson

from fabric.routes.model import SENT, Delivery, Result
from fabric.routes.templates import checked, filled, with_variables
from fabric.system.message_environment import environment
from fabric.system.run_program import run

if TYPE_CHECKING:
    import httpx

#: Bytes of an answer, or of a program's output, that are read.
MAX_OUTPUT = 64 * 1024
#: Characters of it in the problem of a failure.
MAX_QUOTED = 200
PAYLOAD = {"channel": "{channel}", "platform": "{platform}", "chat": "{chat}", "text": "{text}", "id": "{id}"}
#: Statuses below 500 after which a retry may succeed.
_RETRY_STATUSES = (408, 409, 425, 429)


class Program:
    """Runs a program for each delivery: argv, never a shell. Called by a router, on any thread."""

    needs_chat = False

    def __init__(self, argv: Sequence[str]) -> None:
        """ValueError for an empty list, or a str."""
        if isinstance(argv, str) or not argv or not all(isinstance(each, str) and each for each in argv[:1]):
            raise ValueError("a program is a list: itself, and its arguments")
        self._argv = tuple(argv)
        self.name = f"program {os.path.basename(argv[0])}"
        self._is_closed = False

    def __call__(self, delivery: Delivery) -> Result:
        """Run it, and wait for its end. OSError if it cannot be started."""
        facts = {key: value for key, value in delivery._asdict().items() if key not in ("messages", "timeout")}
        ran = run(
            self._argv,
            orjson.dumps(facts, default=str) + b"\n",
            environment({}, os.environ.get("FABRIC_URL", ""), facts),
            timeout=delivery.timeout,
            limit=MAX_OUTPUT,
            cancelled=lambda: self._is_closed,
        )
        if not ran.problem:
            return SENT
        last_line = ran.errors.decode(errors="replace").strip().rpartition("\n")[2][:MAX_QUOTED]
        return Result(False, f"{ran.problem}: {last_line}" if last_line else ran.problem)

    def close(self) -> None:
        """End the programs that run."""
        self._is_closed = True


class Webhook:
    """Posts each delivery to a URL. Called by a router, on any thread. Channels need no chat: the URL is one."""

    needs_chat = False

    def __init__(
        self,
        url: str,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        expect: Mapping[str, Any] | None = None,
    ) -> None:
        """`payload` is the JSON that is posted, its texts with placeholders; `${NAME}` in it, in `url` and `headers` is a
        variable of the environment (see `fabric.routes.templates`). The header `Idempotency-Key` is the delivery's id,
        unless `headers` has another.

        ImportError without httpx, ValueError for an invalid URL, payload or header.
        """
        self._httpx = _httpx()
        try:
            self._url = self._httpx.URL(with_variables(url, os.environ))
        except self._httpx.InvalidURL:
            raise ValueError("the URL of a webhook is none") from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError("the URL of a webhook begins with https:// or http://, and names a host")
        self.name = f"webhook {self._url.host}"
        self._payload = checked(PAYLOAD if payload is None else payload, os.environ)
        self._headers = {name: with_variables(value, os.environ) for name, value in (headers or {}).items()}
        self._expect = dict(expect or {})
        try:
            self._httpx.Headers(self._headers)
        except (UnicodeEncodeError, TypeError):
            raise ValueError("a header of a webhook has characters that none can have") from None
        self._log_filter = _WithoutURL(self._url)
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def __call__(self, delivery: Delivery) -> Result:
        """Post it, and read the answer."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.id} | self._headers
        data = orjson.dumps(filled(self._payload, delivery))
        try:
            with self._opened().stream(
                "POST", self._url, content=data, headers=headers, timeout=delivery.timeout
            ) as response:
                answer = b""
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > MAX_OUTPUT:
                        break
                return self._result(response, answer)
        except self._httpx.TimeoutException:
            return Result(False, f"did not answer within {delivery.timeout:g} s")
        except self._httpx.HTTPError as error:
            return Result(False, f"cannot be reached: {error}".replace(str(self._url), self._url.host))

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                logging.getLogger("httpx").addFilter(self._log_filter)
                # Uncompressed: a compressed answer could be a thousand times as long as its bytes.
                self._client = self._httpx.Client(headers={"Accept-Encoding": "identity", "User-Agent": "event-fabric"})
            return self._client

    def _result(self, response: httpx.Response, answer: bytes) -> Result:
        status = response.status_code
        quoted = answer.decode(errors="replace").strip()[:MAX_QUOTED]
        quoted = f": {quoted}" if quoted else ""
        if not response.is_success:
            retry = status >= 500 or status in _RETRY_STATUSES
            return Result(
                False, f"answered {status}{quoted}", retry, _retry_after(response.headers.get("Retry-After", ""))
            )
        if self._expect:
            try:
                value = orjson.loads(answer)
            except orjson.JSONDecodeError:
                return Result(False, f"answered {status}, but no JSON{quoted}")
            if not _has(value, self._expect):
                return Result(False, f"answered {status}, but not as expected{quoted}")
        return SENT

    def forked(self) -> None:
        """In the child of a fork: the connections are the parent's."""
        self._lock, self._client = threading.Lock(), None

    def close(self) -> None:
        """Close its connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            logging.getLogger("httpx").removeFilter(self._log_filter)


class _WithoutURL(logging.Filter):
    """Suppresses the log records of httpx that have the URL: it logs each request with it, at level info."""

    def __init__(self, url: object) -> None:
        super().__init__()
        self._url = url

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging."""
        return not isinstance(record.args, tuple) or self._url not in record.args


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise ImportError("a webhook needs httpx: pip install 'event-fabric[webhook]'") from None
    return httpx


def _has(value: Any, expected: Any) -> bool:
    """Whether an answer contains at least the expected values; `1` is not `true`."""
    if isinstance(expected, Mapping):
        return isinstance(value, dict) and all(
            key in value and _has(value[key], each) for key, each in expected.items()
        )
    return type(value) is type(expected) and bool(value == expected)


def _retry_after(value: str) -> float:
    """Seconds from a Retry-After header, which has seconds or a date; 0 if it has neither."""
    value = value.strip()
    if value.isdecimal():
        return float(value[:6])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
