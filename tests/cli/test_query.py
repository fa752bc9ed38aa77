import os
import signal

import orjson
import pytest

from cli.exits import FAILED, NO_PROXY, Failure
from cli.query import address_of, answered
from fabric.errors import SettingsError
from proxy import client


def test_the_address_is_the_argument_else_the_environment_else_the_default(monkeypatch, runtime_dir):
    assert address_of(None).url == f"ipc://{runtime_dir}/fabric"
    monkeypatch.setenv("FABRIC_URL", "tcp://127.0.0.1:7500")
    assert address_of(None).url == "tcp://127.0.0.1:7500"
    assert address_of("ipc:///run/x").url == "ipc:///run/x"
    with pytest.raises(SettingsError):
        address_of("nonsense")


def test_no_proxy_and_a_proxy_that_does_not_answer_end_differently(lonely_url, fabric_proxy, capfd):
    def ends(url):
        with pytest.raises(Failure) as failure, answered(address_of(url), json_=True):
            client.status(address_of(url), 0.2)
        return failure.value.code

    assert ends(lonely_url) == NO_PROXY
    assert orjson.loads(capfd.readouterr().out)["state"] == "not running"
    fabric_proxy.signal(signal.SIGSTOP)
    assert ends(fabric_proxy.url) == FAILED
    printed = capfd.readouterr()
    assert orjson.loads(printed.out)["state"] == "not answering"
    assert f"-- its lock was taken by pid {fabric_proxy.pid} on {os.uname().nodename}" in printed.err
