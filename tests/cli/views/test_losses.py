from cli.views.losses import losses
from fabric.protocol.node_report import Report
from proxy.stats import NodeStats, ProxyStats


def record(**facts):
    return ProxyStats(pid=1, host="h", url="ipc:///x", boot="b", version="1", **facts)


def member(name, **dropped):
    return NodeStats(name, report=Report(dropped=dropped))


def test_where_nothing_was_lost_there_is_nothing():
    calm = record(
        dropped={"outbox": 0}, messages={"busy": 0, "refused": 3, "gone": 1}, hooks={"dropped": 0, "failed": 2}
    )
    assert losses(calm) == []


def test_events_are_listed_by_cause_the_most_first_with_the_nodes_that_count_them():
    found = losses(
        record(
            dropped={"outbox": 2, "missed": 10},
            members=(member("a", missed=3), member("b", missed=4, outbox=2), NodeStats("new")),
        )
    )
    assert [(loss.cause, loss.number, loss.where, loss.elsewhere) for loss in found] == [
        ("missed", 10, (("b", 4), ("a", 3)), 3),
        ("outbox", 2, (("b", 2),), 0),
    ]


def test_nodes_of_one_name_are_one():
    (loss,) = losses(record(dropped={"missed": 5}, members=(member("a", missed=2), member("a", missed=3))))
    assert loss.where == (("a", 5),)


def test_messages_to_full_nodes_and_to_full_hooks_are_losses():
    found = losses(record(messages={"busy": 3}, hooks={"dropped": 4}))
    assert [(loss.number, loss.what, loss.cause, loss.elsewhere) for loss in found] == [
        (3, "message", "busy", 0),
        (4, "message", "hooks", 0),
    ]


def test_a_cause_of_a_newer_version_keeps_its_name():
    (loss,) = losses(record(dropped={"gremlins": 1}))
    assert loss.cause == "gremlins"
    assert "newer version" in loss.why
