"""/metrics, /healthz and /readyz of a real proxy over HTTP."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from fabric.errors import ProxyError
from fabric.protocol.node_report import Report
from fabric.testing import ProxyProcess, wait_until
from proxy.metrics.app import SILENCE_TIMEOUT, Metrics
from proxy.metrics.table import METRICS
from proxy.stats import NodeStats, ProxyStats


def ask(url, page="/metrics", *, method="GET", data=None, headers=()):
    """(status, body, headers)"""
    place = urlsplit(url)
    request = urllib.request.Request(f"http://{place.netloc}{page}", method=method, data=data, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode(), answer.headers


def samples(url):
    """{name: {label values, sorted by label: number}}"""
    found = defaultdict(dict)
    for family in parse(ask(url)[1]):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found[sample.name], f"{sample.name} {labels} stands there twice"
            found[sample.name][labels] = sample.value
    return found


def metrics_url(proxy):
    return wait_until(lambda: (found := re.findall(r"metrics at (http://\S+)", proxy.log)) and found[-1])


@pytest.fixture(scope="module")
def proxy(runtime_dir):
    with ProxyProcess(metrics="127.0.0.1:0", timeout=1) as process:
        yield process


@pytest.fixture(scope="module")
def url(proxy):
    url = metrics_url(proxy)
    wait_until(lambda: ask(url, "/readyz")[0] == 200)
    return url


# A real proxy


def test_every_metric_of_the_table_is_there_with_its_type_and_help(url):
    families = {family.name: family for family in parse(ask(url)[1])}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_process_metrics_have_the_standard_names_and_are_of_this_proxy(url, proxy):
    found = samples(url)
    assert found["process_open_fds"][()] > 10
    assert found["process_resident_memory_bytes"][()] > 10_000_000
    assert {name for name in found if name.startswith("process_")} == {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
    }


def test_events_of_a_topic_are_counted_once_by_the_proxy_and_by_both_nodes(url, proxy, fabric_node):
    publisher, subscriber = fabric_node("publisher", url=proxy.url), fabric_node("subscriber", url=proxy.url)
    subscriber.subscribe("orders.*", lambda event: None).wait_ready(everyone=True)
    for number in range(10):
        publisher.publish("orders.created", {"number": number})
    wait_until(lambda: samples(url)["fabric_node_delivered_events_total"].get(("subscriber",)) == 10)
    wait_until(lambda: samples(url)["fabric_node_sent_events_total"].get(("publisher",)) == 10)
    wait_until(lambda: samples(url)["fabric_topic_events_total"].get(("orders.created",)) == 10)
    found = samples(url)
    assert found["fabric_nodes"][()] >= 2
    assert found["fabric_event_plane_alive"][()] == 1
    assert found["fabric_event_plane_bytes_total"]["in",] > 100
    assert sum(found["fabric_dropped_events_total"].values()) == 0
    assert {labels[1] for labels in found["fabric_node_info"]} >= {"publisher", "subscriber"}


def test_messages_are_counted_by_outcome(url, proxy, fabric_node):
    before = samples(url)["fabric_messages_total"]["acknowledged",]
    holder, sender = fabric_node(url=proxy.url), fabric_node(url=proxy.url)
    holder.endpoint("desk", lambda message: None)
    sender.send("desk", {"text": "hello"}).wait(10)
    wait_until(lambda: samples(url)["fabric_messages_total"]["acknowledged",] == before + 1)


def test_it_is_healthy_and_ready(url, proxy):
    assert ask(url, "/readyz")[0] == 200
    status, text, headers = ask(url, "/healthz")
    assert (status, headers.get_content_type()) == (200, "text/plain")
    assert text.startswith(f"ok: pid {proxy.pid} on ")


def test_it_is_healthy_and_not_ready_while_it_settles(proxy):
    command = [sys.executable, "-P", "-m", "proxy", "--settle", "60", "--metrics", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--url", f"{proxy.url}-2"], cwd="/", stderr=subprocess.PIPE, text=True
    ) as settling:
        try:
            found = re.search(r"metrics at (\S+)", settling.stderr.readline())[1]
            assert ask(found, "/healthz")[0] == 200
            status, text, _ = ask(found, "/readyz")
            assert status == 503
            assert "starting" in text
        finally:
            settling.terminate()
            assert settling.wait(10) == 0


def test_it_is_not_ready_while_it_stops(tmp_path, fabric_node):
    """A hook that ignores TERM delays the end of the proxy."""
    hook, started, go = tmp_path / "hook", tmp_path / "started", tmp_path / "go"
    hook.write_text(f"#!/bin/sh\ntrap '' TERM\ntouch {started}\nuntil [ -e {go} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    with ProxyProcess(metrics="127.0.0.1:0", hooks=str(hook)) as stopping:
        url = metrics_url(stopping)
        node = fabric_node(url=stopping.url)
        node.endpoint("desk", lambda message: None)
        node.send("desk", {"text": "hello"}).wait(10)
        wait_until(started.exists)
        stopping.signal(signal.SIGTERM)
        wait_until(lambda: ask(url, "/readyz")[:2] == (503, "stopping\n"))
        assert ask(url, "/healthz")[0] == 200
        go.touch()
        wait_until(lambda: not stopping.running)
        assert stopping.stop() == 0


@pytest.mark.parametrize("page", ["/metrics", "/healthz", "/readyz"])
def test_pages_are_read_only(url, page):
    for method, data in (("POST", b"x" * 1_000), ("PUT", b"x"), ("DELETE", None), ("OPTIONS", None)):
        status, _, headers = ask(url, page, method=method, data=data)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("page", ["/metrics", "/healthz", "/readyz"])
def test_head_is_get_without_the_body(url, page):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as raw:
        raw.sendall(f"HEAD {page} HTTP/1.0\r\n\r\n".encode())
        with raw.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert int(re.search(rb"Content-Length: (\d+)", head)[1]) > 10
    assert body == b""


@pytest.mark.parametrize("page", ["/", "/metrics/x", "/etc/passwd", "/..%2f", "/favicon.ico"])
def test_any_other_page_is_not_found(url, page):
    assert ask(url, page)[0] == 404


def test_one_metric_can_be_asked_for_by_name(url):
    _, text, _ = ask(url, "/metrics?name[]=fabric_nodes")
    assert [line.split()[0] for line in text.splitlines() if not line.startswith("#")] == ["fabric_nodes"]


def test_openmetrics_is_served_on_request(url):
    _, text, headers = ask(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"}.items())
    assert headers.get_content_type() == "application/openmetrics-text"
    assert {f"{metric.name.removesuffix('_total')}" for metric in METRICS} <= {
        family.name for family in parse_openmetrics(text)
    }


def test_a_malformed_accept_header_does_no_harm(url):
    ask(url, headers={"Accept": "application/openmetrics-text; version=x.y.z; escaping=;;=", "Host": "\x01"}.items())
    assert ask(url)[0] == 200


# Starting


def run_proxy(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "proxy", "--url", "ipc:///nonexistent/fabric", *arguments]
    result = subprocess.run(
        command, cwd="/", env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )
    return result.returncode, result.stderr


def test_without_the_setting_nothing_is_served(shared_proxy):
    assert "metrics at" not in shared_proxy.log


def test_with_a_port_that_is_in_use_the_proxy_does_not_start_and_says_why(tmp_path, url):
    taken = urlsplit(url).netloc
    directory = ProxyProcess(metrics=taken)
    try:
        with pytest.raises(RuntimeError, match=f"cannot serve metrics at {taken}: address already in use"):
            directory.start()
        assert "listening on" not in directory.log
        assert "Traceback" not in directory.log
    finally:
        directory.close()


@pytest.mark.parametrize("listen", ["here", "127.0.0.1", "127.0.0.1:99999", "::1:9464", ":x"])
def test_a_malformed_address_is_a_wrong_setting(listen):
    status, text = run_proxy("--metrics", listen)
    assert status == 1
    assert "metrics" in text
    assert "Traceback" not in text
    with pytest.raises(ProxyError, match=r"cannot serve metrics: .* is not HOST:PORT"):
        Metrics(listen, record)


def test_an_unknown_host_is_an_error():
    with pytest.raises(ProxyError, match="there is no such host"):
        Metrics("nobody.invalid:0", record)


def test_without_the_client_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ProxyError, match=r"pip install 'event-fabric\[metrics\]'"):
        Metrics("127.0.0.1:0", record)
    Metrics("", record).close()


def test_a_proxy_without_metrics_imports_neither_the_library_nor_a_server():
    program = "import sys, proxy.__main__; print(sorted({'prometheus_client', 'http.server'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


# Health checks of a proxy with problems


def record(uptime=100.0, **facts):
    return ProxyStats(pid=7, host="here", url="ipc:///run/fabric", boot="b", version="1", uptime=uptime, **facts)


@pytest.fixture
def served():
    made = []

    def serve(stats=record, silence=0.0, listen="127.0.0.1:0"):
        metrics = Metrics(listen, stats, silence=lambda: silence)
        made.append(metrics)
        metrics.start()
        return metrics

    yield serve
    for each in made:
        each.close()


def test_with_planes_silent_for_long_it_is_unhealthy(served):
    metrics = served(silence=60.0)
    metrics.ready()
    for page in ("/healthz", "/readyz"):
        status, text, _ = ask(metrics.url, page)
        assert status == 503
        assert "have not answered for 60 s" in text


def test_with_planes_that_are_late_it_is_healthy(served):
    metrics = served(silence=SILENCE_TIMEOUT / 2)
    metrics.ready()
    assert ask(metrics.url, "/healthz")[0] == ask(metrics.url, "/readyz")[0] == 200


def test_with_planes_that_never_answered_it_is_unhealthy_some_time_after_the_start(served):
    young, old = served(lambda: record(uptime=1.0), None), served(lambda: record(uptime=SILENCE_TIMEOUT + 1), None)
    for metrics in (young, old):
        metrics.ready()
    assert (ask(young.url, "/healthz")[0], ask(young.url, "/readyz")[0]) == (200, 503)
    assert (ask(old.url, "/healthz")[0], ask(old.url, "/readyz")[0]) == (503, 503)


def test_a_proxy_that_is_about_to_stop_is_healthy_and_not_ready(served):
    metrics = served()
    metrics.ready()
    assert ask(metrics.url, "/readyz")[0] == 200
    metrics.stopping()
    assert ask(metrics.url, "/readyz")[:2] == (503, "stopping\n")
    assert ask(metrics.url, "/healthz")[0] == 200


def test_a_failure_to_make_the_record_is_answered_and_logged(served, caplog):
    def fail():
        raise RuntimeError("no record today")

    metrics = served(fail)
    assert ask(metrics.url)[0] == 500
    for page in ("/healthz", "/readyz"):
        status, text, _ = ask(metrics.url, page)
        assert status == 503
        assert "no record today" in text
    assert "no record today" in caplog.text


def test_hostile_names_of_nodes_cannot_break_the_page(served):
    name = 'a"} 1\nfabric_nodes 99\\'
    metrics = served(lambda: record(members=(NodeStats(name, host="\n", report=Report(sent=3)),)))
    assert samples(metrics.url)["fabric_node_sent_events_total"] == {(name,): 3.0}
    assert samples(metrics.url)["fabric_nodes"] == {(): 0.0}


def test_nodes_of_one_name_are_one_sample(served):
    twins = tuple(NodeStats("twin", pid=pid, report=Report(sent=pid)) for pid in (1, 2))
    assert samples(served(lambda: record(members=twins)).url)["fabric_node_sent_events_total"] == {("twin",): 3.0}


def test_it_listens_on_ipv6(served):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    metrics = served(listen="[::1]:0")
    assert metrics.url.startswith("http://[::1]:")
    assert ask(metrics.url)[0] == 200
