"""All errors: one root, useful types, facts as attributes."""

import inspect

import pytest

from fabric import errors

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_has_one_root(kind):
    assert issubclass(kind, errors.FabricError)


@pytest.mark.parametrize("kind", EVERY)
def test_the_tree_in_the_docstring_has_every_error(kind):
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_is_public(kind):
    import fabric

    assert getattr(fabric, kind.__name__) is kind


@pytest.mark.parametrize("kind", [errors.NotReady, errors.DeliveryTimeout])
def test_an_error_for_a_timeout_is_a_timeout_error(kind):
    assert issubclass(kind, TimeoutError)


@pytest.mark.parametrize("kind", [errors.SettingsError, errors.WireError, errors.MessageTooLarge, errors.BadMessage])
def test_an_error_for_a_value_is_a_value_error(kind):
    assert issubclass(kind, ValueError)


def test_not_ready_names_the_subject_the_address_and_the_time():
    error = errors.NotReady("the node 'a'", url="ipc:///run/fabric", waited=1.5)
    assert "the node 'a' was not ready after 1.5 s" in str(error)
    assert (error.what, error.url, error.waited) == ("the node 'a'", "ipc:///run/fabric", 1.5)


@pytest.mark.parametrize(
    ("reason", "remedy"), [("", "fabric proxy"), ("full", "ulimit -n"), ("version", "same version")]
)
def test_not_ready_names_a_remedy(reason, remedy):
    error = errors.NotReady("the node 'a'", url="ipc:///run/fabric", waited=1.5, reason=reason)
    assert remedy in str(error)
    assert error.reason == reason


def test_no_such_endpoint_lists_similar_names():
    error = errors.NoSuchEndpoint("alise", ["alice", "elise"])
    assert "did you mean 'alice', 'elise'?" in str(error)
    assert (error.to, error.similar) == ("alise", ("alice", "elise"))


def test_facts_are_attributes():
    assert errors.AddressInUse("u", "pid 7").holder == "pid 7"
    assert errors.AlreadyConnected("u", "p").url == "u"
    assert (errors.MessageTooLarge("a", 20, 10).size, errors.MessageTooLarge("a", 20, 10).limit) == (20, 10)
    assert errors.NameTaken("a", "pid 7").holder == "pid 7"
    assert errors.SenderNotOwned("a", to="b").sender == "a"
    assert errors.DeliveryTimeout("a", 2.0).waited == 2.0
    assert errors.Refused("a", "busy", "later").code == "busy"
    assert (errors.RemoteError("a", "KeyError", "x").type, errors.RemoteError("a", "KeyError", "x").text) == (
        "KeyError",
        "x",
    )
