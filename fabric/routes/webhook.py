"""A sender that posts JSON to a URL.

    Webhook("https://hooks.example.com/${TOKEN}")
    Webhook(url, payload={"msgtype": "text", "text": {"content": "{text}"}}, expect={"errcode": 0})

Success is a status of 2xx and, with `expect`, an answer in JSON that has at least that: many a service says "failed" with a
200. Redirects are not followed: whoever posts somebody's text should know where to. A URL may hold a secret, so of it no
more than the host is ever told.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

import orjson

from fabric.routes.model import SENT, Delivery, Result
from fabric.routes.templates import checked, filled, with_variables

if TYPE_CHECKING:
    import httpx

#: Bytes of an answer that are read, and characters of it that are told.
MAX_ANSWER = 64 * 1024
MAX_TOLD = 200
PAYLOAD = {"channel": "{channel}", "platform": "{platform}", "chat": "{chat}", "text": "{text}", "id": "{id}"}
#: Refusals that may be gone later; all others below 500 stay what they are.
_LATER = (408, 409, 425, 429)


class Webhook:
    """Called by a router, on any thread. The URL is its chat: it is asked for channels without one, too."""

    needs_chat = False

    def __init__(
        self,
        url: str,
        *,
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        expect: Mapping[str, Any] | None = None,
    ) -> None:
        """`payload` is what is posted, its texts with placeholders; `${NAME}` in it, in `url` and `headers` is a variable
        of the environment (see `fabric.routes.templates`). The header `Idempotency-Key` has the delivery's id, unless
        `headers` say otherwise.

        ImportError without httpx, ValueError for what cannot be posted to.
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
        self._quiet = _Quiet(self._url)
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def __call__(self, delivery: Delivery) -> Result:
        """Post it."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.id} | self._headers
        data = orjson.dumps(filled(self._payload, delivery))
        try:
            with self._opened().stream(
                "POST", self._url, content=data, headers=headers, timeout=delivery.timeout
            ) as response:
                answer = b""
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > MAX_ANSWER:
                        break
                return self._result(response, answer)
        except self._httpx.TimeoutException:
            return Result(False, f"did not answer within {delivery.timeout:g} s")
        except self._httpx.HTTPError as error:
            return Result(False, f"cannot be reached: {error}".replace(str(self._url), self._url.host))

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                logging.getLogger("httpx").addFilter(self._quiet)
                # Compressed answers could be a thousand times as long as they look.
                self._client = self._httpx.Client(headers={"Accept-Encoding": "identity", "User-Agent": "event-fabric"})
            return self._client

    def _result(self, response: httpx.Response, answer: bytes) -> Result:
        status = response.status_code
        told = answer.decode(errors="replace").strip()[:MAX_TOLD]
        said = f": {told}" if told else ""
        if not response.is_success:
            retry = status >= 500 or status in _LATER
            return Result(
                False, f"answered {status}{said}", retry, _retry_after(response.headers.get("Retry-After", ""))
            )
        if self._expect:
            try:
                value = orjson.loads(answer)
            except orjson.JSONDecodeError:
                return Result(False, f"answered {status}, but no JSON{said}")
            if not _has(value, self._expect):
                return Result(False, f"answered {status}, but not as expected{said}")
        return SENT

    def forked(self) -> None:
        """We are the child: the connections are the parent's."""
        self._lock, self._client = threading.Lock(), None

    def close(self) -> None:
        """Close its connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            logging.getLogger("httpx").removeFilter(self._quiet)


class _Quiet(logging.Filter):
    """httpx logs the whole URL of each request (level info)."""

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
    """Whether an answer has at least what is expected; `1` is not `true`."""
    if isinstance(expected, Mapping):
        return isinstance(value, dict) and all(
            key in value and _has(value[key], each) for key, each in expected.items()
        )
    return type(value) is type(expected) and bool(value == expected)


def _retry_after(value: str) -> float:
    """Seconds: the header has them, or a date."""
    value = value.strip()
    if value.isdecimal():
        return float(value[:6])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0
