"""Webhooks, against a real HTTP server, and programs, real ones."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from fabric.routes.batch import Policy
from fabric.routes.model import Delivery
from fabric.routes.router import Router
from fabric.routes.senders import MAX_QUOTED, Program, Webhook

DELIVERY = Delivery("id1", "chat:oc_1", "chat", "oc_1", 'say "hi" {chat}\n', timeout=5.0)

# Webhooks


class Server:
    """Answers with `status`, `headers` and `answer`, and keeps the requests in `asked`. `release` delays answers."""

    def __init__(self):
        self.status, self.headers, self.answer = 200, {}, b"{}"
        self.asked = []
        self.release = threading.Event()
        self.release.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked.append((self.path, dict(self.headers), orjson.loads(body)))
                server.release.wait(10)
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(server.answer)))
                self.end_headers()
                try:
                    self.wfile.write(server.answer)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.release.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def hook(server):
    """A function that makes webhooks for the server."""
    made = []

    def make(path="/", **options):
        made.append(Webhook(server.url + path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_delivery_is_posted_as_json_with_the_same_id_in_each_attempt(hook, server):
    send = hook("/hook/secret")
    assert send(DELIVERY).ok
    assert send(DELIVERY._replace(attempt=2)).ok
    [(path, headers, body), (_, again, _)] = server.asked
    assert path == "/hook/secret"
    assert body == {
        "channel": "chat:oc_1",
        "platform": "chat",
        "chat": "oc_1",
        "text": 'say "hi" {chat}\n',
        "id": "id1",
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == again["Idempotency-Key"] == "id1"


def test_payload_headers_and_url_can_be_set_with_variables(hook, server, monkeypatch):
    monkeypatch.setenv("HOOK_KEY", "k{text}")
    send = hook(
        "/${HOOK_KEY}", payload={"msg": {"t": "{text}"}, "n": 1}, headers={"Authorization": "Bearer ${HOOK_KEY}"}
    )
    assert send(DELIVERY).ok
    [(path, headers, body)] = server.asked
    assert path.startswith("/k")
    assert headers["Authorization"] == "Bearer k{text}"
    assert body == {"msg": {"t": 'say "hi" {chat}\n'}, "n": 1}


@pytest.mark.parametrize(
    ("status", "retry"), [(500, True), (503, True), (429, True), (408, True), (400, False), (404, False), (302, False)]
)
def test_another_status_than_2xx_is_a_failure_with_or_without_retry(hook, server, status, retry):
    server.status, server.answer = status, b"because"
    server.headers = {"Location": server.url + "/elsewhere"}
    result = hook()(DELIVERY)
    assert (result.ok, result.retry, result.problem) == (False, retry, f"answered {status}: because")
    assert len(server.asked) == 1


def test_the_retry_after_header_is_the_pause_before_the_next_attempt(hook, server):
    server.status, server.headers = 429, {"Retry-After": "17"}
    assert hook()(DELIVERY).after == 17.0
    server.headers = {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}
    assert hook()(DELIVERY).after > 1e6
    server.headers = {"Retry-After": "soon"}
    assert hook()(DELIVERY).after == 0.0


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (b'{"code": 0, "data": {"id": 1, "x": 2}}', True),
        (b'{"code": 1, "data": {"id": 1}}', False),
        (b'{"code": false, "data": {"id": 1}}', False),
        (b'{"data": {"id": 1}}', False),
        (b"[]", False),
        (b"ok", False),
        (b"", False),
    ],
)
def test_a_200_without_the_expected_answer_is_a_failure(hook, server, answer, ok):
    server.answer = answer
    assert hook(expect={"code": 0, "data": {"id": 1}})(DELIVERY).ok is ok


def test_a_router_repeats_a_delivery_with_the_same_id(hook, server):
    answers = iter([503, 429, 200])
    send = hook()

    def next_answer(delivery):
        server.status = next(answers)
        return send(delivery)

    with Router(write=None, policy=Policy(backoff=0.01)) as router:
        router.register("chat", next_answer, name="hook", needs_chat=False)
        assert router.route("chat", "x").wait(10)
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.asked}) == 1
    assert len(server.asked) == 3


def test_the_answer_that_is_read_is_bounded(hook, server):
    server.answer = b"x" * 10_000_000
    assert hook()(DELIVERY).ok
    server.status = 500
    assert len(hook()(DELIVERY).problem) < MAX_QUOTED + 50


def test_no_answer_within_the_timeout_is_a_failure(hook, server):
    server.release.clear()
    result = hook()(DELIVERY._replace(timeout=0.05))
    assert (result.ok, result.retry, result.problem) == (False, True, "did not answer within 0.05 s")


def test_a_refused_connection_is_a_failure_without_the_secret_of_the_url(server):
    send = Webhook(f"http://127.0.0.1:{server.http.server_port}/secret")
    server.close()
    result = send(DELIVERY)
    assert not result.ok
    assert "cannot be reached" in result.problem
    assert "secret" not in result.problem + send.name
    send.close()


def test_the_secret_of_the_url_is_not_logged(hook, caplog):
    with caplog.at_level("INFO"):
        assert hook("/secret")(DELIVERY).ok
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "options", "problem"),
    [
        ("ftp://x/y", {}, "begins with https"),
        ("https://", {}, "names a host"),
        ("x", {}, "begins with https"),
        ("http://x:port", {}, "is none"),
        ("https://x/${NOT_SET}", {}, "NOT_SET} is not set"),
        ("https://x", {"payload": {"a": "{txt}"}}, "did you mean text"),
        ("https://x", {"headers": {"A": "ü\u20ac"}}, "characters that none can have"),
    ],
)
def test_a_mistake_in_a_webhook_is_an_error_when_it_is_made(url, options, problem):
    with pytest.raises(ValueError) as raised:
        Webhook(url, **options)
    assert problem in str(raised.value)


def test_without_httpx_the_error_names_the_extra_and_all_else_works():
    program = """
import sys
sys.modules["httpx"] = None
from fabric.routes import Router, Webhook
with Router(write=None) as router:
    router.register("a", lambda delivery: True)
    assert router.route("a:1", "x").wait(10)
try:
    Webhook("https://x")
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "a webhook needs httpx: pip install 'event-fabric[webhook]'\n"


# Programs

TEXT = "$(touch x); -hi"


def python(program, *arguments):
    return Program([sys.executable, "-c", program, *arguments])


def test_a_program_gets_the_delivery_on_stdin_and_in_its_environment(tmp_path):
    out = tmp_path / "out"
    program = (
        "import json, os, sys; e = os.environ; json.dump([json.load(sys.stdin), e['FABRIC_TEXT'], e['FABRIC_CHAT'],"
        " e['FABRIC_CHANNEL'], e['FABRIC_ATTEMPT']], open(sys.argv[1], 'w'))"
    )
    assert python(program, str(out))(DELIVERY._replace(text=TEXT)).ok
    given, *variables = orjson.loads(out.read_bytes())
    assert given == {
        "id": "id1", "channel": "chat:oc_1", "platform": "chat", "chat": "oc_1", "text": TEXT, "attempt": 1,
    }  # fmt: skip
    assert variables == [TEXT, "oc_1", "chat:oc_1", "1"]


def test_another_exit_status_than_0_is_a_failure_with_the_last_line_of_its_errors():
    result = python("import sys; print('a\\nthe reason', file=sys.stderr); sys.exit(3)")(DELIVERY)
    assert (result.ok, result.problem) == (False, "ended with exit status 3: the reason")


def test_a_program_is_ended_at_its_timeout():
    result = python("import time; time.sleep(60)")(DELIVERY._replace(timeout=0.1))
    assert not result.ok
    assert "was ended after" in result.problem


def test_a_program_is_ended_by_close():
    send = python("import time; time.sleep(60)")
    send.close()
    assert not send(DELIVERY).ok


@pytest.mark.parametrize("argv", [[], "a b", [""]])
def test_a_program_is_a_list_that_is_not_empty(argv):
    with pytest.raises(ValueError, match="a program is a list"):
        Program(argv)
