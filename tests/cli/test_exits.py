import click
import pytest

from cli.exits import DONE, FAILED, INTERRUPTED, NO_PROXY, NOBODY, TIMED_OUT, USAGE, Failure, ended_by
from fabric.errors import (
    AddressInUse,
    DeliveryTimeout,
    FabricError,
    NoSuchEndpoint,
    NotConnected,
    NotReady,
    ProxyError,
    RemoteError,
    SettingsError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("url", "FABRIC_URL", "is no address"), USAGE),
        (NotReady("the node", url="ipc:///x", waited=3), NO_PROXY),
        (NotConnected("no link"), NO_PROXY),
        (NoSuchEndpoint("gatewy", ["gateway"]), NOBODY),
        (DeliveryTimeout("gateway", 2.0), TIMED_OUT),
        (ProxyError("cannot listen"), FAILED),
        (AddressInUse("ipc:///x", "pid 7"), FAILED),
        (RemoteError("gateway", "KeyError", "7"), FAILED),
        (FabricError("something"), FAILED),
        (Failure(NOBODY, "nobody is there"), NOBODY),
        (OSError(28, "No space left on device"), FAILED),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(error, code, capsys):
    assert ended_by(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fabric: ")
    assert err.count("\n") == 1
    assert (str(error) in err) or "No space left" in err


def test_a_mistake_of_ours_is_admitted_without_a_traceback(capsys, monkeypatch):
    monkeypatch.delenv("FABRIC_DEBUG", raising=False)
    assert ended_by(ZeroDivisionError("division by zero")) == FAILED
    assert "this should not happen: ZeroDivisionError: division by zero" in capsys.readouterr().err
    monkeypatch.setenv("FABRIC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        ended_by(ZeroDivisionError())


def test_wrong_usage_is_printed_as_click_does(capsys):
    assert ended_by(click.UsageError("No such option.")) == USAGE
    assert "Error: No such option." in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_needs_no_words(error, capsys):
    assert ended_by(error) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_an_exit_is_an_exit():
    assert ended_by(click.exceptions.Exit(DONE)) == DONE
    assert ended_by(click.exceptions.Exit(7)) == 7
