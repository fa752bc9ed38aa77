import re

import orjson
import pytest

from cli.doctor.verdict import FORMATS, Level, Verdict, as_json, as_nagios, as_prometheus, as_text, exit_code, judged
from proxy.stats import ProxyStats

STATS = ProxyStats(
    pid=7,
    host="h",
    url="ipc:///x",
    boot="b",
    version="1.2",
    uptime=7_200.0,
    nodes=1,
    endpoints=2,
    dropped={"missed": 5},
)
OK = judged("ipc:///x", 0.0008, 0.0003, STATS, None)._replace(took=0.05)
DOWN = Verdict(Level.DOWN, "ipc:///x", "no proxy is running at ipc:///x", "not running", took=0.01)


def test_a_proxy_that_answers_is_ok_in_one_line():
    assert as_text(OK) == "ok: ipc:///x answers (events 0.8 ms, messages 0.3 ms), up 2h, 1 node, 5 lost"
    assert as_nagios(OK) == (
        "FABRIC OK - ipc:///x answers (events 0.8 ms, messages 0.3 ms), up 2h, 1 node, 5 lost"
        " | events=0.000800s;;;0 messages=0.000300s;;;0 took=0.050s;;;0"
        " nodes=1;;;0 endpoints=2;;;0 lost=5c;;;0 rate=0.0;;;0"
    )


def test_json_has_every_fact_and_null_for_unknown_ones():
    assert orjson.loads(as_json(OK)) == {
        "ok": True, "state": "up", "url": "ipc:///x", "why": OK.why, "events": 0.0008, "messages": 0.0003, "took": 0.05,
        "pid": 7, "host": "h", "version": "1.2", "uptime": 7200.0, "nodes": 1, "endpoints": 2, "lost": 5,
    }  # fmt: skip
    facts = orjson.loads(as_json(DOWN))
    assert (facts["ok"], facts["state"], facts["events"], facts["lost"]) == (False, "not running", None, None)


def test_prometheus_gets_a_sample_for_each_known_fact():
    def samples(verdict):
        return [line for line in as_prometheus(verdict).splitlines() if not line.startswith("#")]

    assert samples(OK) == [
        'fabric_check_healthy{url="ipc:///x"} 1',
        'fabric_check_duration_seconds{url="ipc:///x"} 0.05',
        'fabric_check_round_trip_seconds{plane="events",url="ipc:///x"} 0.0008',
        'fabric_check_round_trip_seconds{plane="messages",url="ipc:///x"} 0.0003',
        'fabric_check_lost_events{url="ipc:///x"} 5',
    ]
    assert samples(DOWN) == [
        'fabric_check_healthy{url="ipc:///x"} 0',
        'fabric_check_duration_seconds{url="ipc:///x"} 0.01',
    ]
    families = re.findall("^# TYPE (.*) gauge$", as_prometheus(OK), re.MULTILINE)
    assert families == re.findall("^# HELP ([a-z_]+) .*[.]$", as_prometheus(OK), re.MULTILINE)
    assert r'{url="a\\b\"c"}' in as_prometheus(DOWN._replace(url='a\\b"c'))


def test_more_losses_than_permitted_are_a_warning():
    assert judged("u", 0.1, 0.1, STATS, 5).level is Level.OK
    verdict = judged("u", 0.1, 0.1, STATS, 4)
    assert verdict.level is Level.WARNING
    assert as_text(verdict) == "unhealthy: u answers, but 5 events were lost since its start, more than 4"


@pytest.mark.parametrize(
    ("level", "code", "nagios"),
    [(Level.OK, 0, 0), (Level.WARNING, 1, 1), (Level.CRITICAL, 1, 2), (Level.DOWN, 3, 2), (Level.UNKNOWN, 2, 3)],
)
def test_exit_codes_are_the_commands_own_except_for_nagios(level, code, nagios):
    verdict = DOWN._replace(level=level)
    assert [exit_code(verdict, how) for how in ("text", "json", "prometheus", "nagios")] == [code, code, code, nagios]
    assert as_nagios(verdict).startswith(f"FABRIC {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[nagios]} - ")


@pytest.mark.parametrize("how", FORMATS)
def test_nothing_that_others_wrote_breaks_the_line(how):
    verdict = DOWN._replace(url="ipc:///\n\x1b[2J", why="it says\n\x1b[2J | evil=1")
    said = FORMATS[how](verdict)
    assert all(line.isprintable() for line in said.split("\n"))
    assert how == "prometheus" or "\n" not in said
    assert how != "nagios" or said.count("|") == 1
