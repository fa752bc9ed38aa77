"""What a process has one of."""

import threading

import pytest

import fabric
from fabric.testing import wait_until


def test_the_module_level_functions_act_on_the_default_bus():
    seen = []
    with fabric.subscribe("module.*", seen.append):
        fabric.publish("module.level", {"n": 1})
    assert seen[0]["n"] == 1
    assert fabric.publish.__self__ is fabric.default_bus


def test_an_unknown_setting_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="colour"):
        fabric.connect(bus=fabric.Bus(), colour="red")


def test_a_bus_that_was_closed_by_its_last_holder_can_join_again(shared_proxy):
    bus = fabric.Bus()
    first = fabric.connect("first", url=shared_proxy.url, bus=bus)
    again = fabric.connect("first", url=shared_proxy.url, bus=bus)
    assert again is first
    first.close()
    assert first.state != "closed"
    again.close()
    second = fabric.connect("second", url=shared_proxy.url, bus=bus)
    assert second is not first
    second.close()


def test_many_threads_that_connect_one_bus_get_one_node(shared_proxy):
    bus, nodes = fabric.Bus(), []
    threads = [
        threading.Thread(target=lambda: nodes.append(fabric.connect("one", url=shared_proxy.url, bus=bus)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, nodes))) == 1
    for node in nodes:
        node.close()
    assert nodes[0].state == "closed"


def test_a_closed_node_still_says_what_it_counted(shared_proxy):
    node = fabric.connect("counted", url=shared_proxy.url, bus=fabric.Bus())
    node.subscribe("counted.*", lambda event: None).wait_ready(10)
    node.publish("counted.once")
    wait_until(lambda: node.stats()["sent"] == 1)
    node.close()
    assert node.stats()["sent"] == 1
