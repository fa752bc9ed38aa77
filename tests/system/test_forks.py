"""Forks: the parent is unharmed, and the child starts clean. (See also `test_processes`.)"""

import os
import signal

import pytest

from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect
from tests.ports import free_port
from tests.system.scripts import Script, run

#: `child(function)` forks: the child runs it, closes its nodes and ends with 0; what it raises is printed.
FORK = """
import traceback
def child(function):
    if pid := os.fork():
        return pid
    signal.alarm(15)
    try:
        function()
        node.close()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
def gone(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.fixture
def heard(node):
    """What a node here hears of the programs."""
    return collect(node("listener"), "program.**")


def numbers(events, topic):
    return [event["n"] for event in events if event["type"] == topic]


# The parent is unharmed


def test_the_parent_keeps_its_link_and_its_counts_whatever_its_children_do(shared_proxy, heard):
    status, output, errors = run(
        FORK
        + """
node = fabric.connect("program", url=url, bus=bus)
downs = []
bus.subscribe("fabric.link.down", downs.append)
node.wait_ready(10)
def talk():
    for n in range(50):
        bus.publish("program.child", {"n": n, "origin": node.origin.hex()})
for round in range(4):
    pids = [child(talk), child(lambda: None), child(lambda: os._exit(0)), child(lambda: node.close())]
    for n in range(50):
        bus.publish("program.parent", {"n": 50 * round + n, "origin": node.origin.hex()})
    for pid in pids:
        gone(pid)
node.wait_ready(10)
wait_until(lambda: not node.stats()["waiting"])
stats = node.stats()
print(stats["sent"], stats["links_lost"], stats["missed"], stats["dropped"], len(downs), node.state)
""",
        shared_proxy.url,
    )
    assert (status, output, errors) == (0, "200 0 0 0 0 up\n", "")
    arrive(heard, 400)
    assert numbers(heard, "program.parent") == list(range(200))
    of_children = {}
    for event in heard:
        if event["type"] == "program.child":
            of_children.setdefault(event["origin"], []).append(event["n"])
    assert list(of_children.values()) == [list(range(50))] * 4
    assert len({event["origin"] for event in heard}) == 5


def test_a_childs_end_says_no_goodbye_for_its_parent(shared_proxy, node):
    asker = node("asker")
    left = collect(asker, "fabric.*.left")
    with Script(
        FORK
        + """
node = fabric.connect("program", url=url, bus=bus)
node.endpoint("parents", lambda message: os.getpid(), policy="reject").wait_ready(10)
gone(child(lambda: os._exit(0)))
gone(child(lambda: node.close()))
if not (pid := os.fork()):
    sys.exit(0)  # with atexit
gone(pid)
print(os.getpid(), flush=True)
sys.stdin.readline()
""",
        shared_proxy.url,
    ) as script:
        pid = int(script.line())
        assert asker.request("parents", {}).wait(10) == pid
        assert not [event for event in left if event.get("pid") == pid or event.get("endpoint") == "parents"]
        script.go_on()
        assert script.end() == (0, "", "")


def test_forks_while_threads_publish_subscribe_and_send_harm_nobody(shared_proxy, heard):
    status, output, errors = run(
        FORK
        + """
node = fabric.connect("program", url=url, bus=bus)
node.endpoint("busy", lambda message: message["body"]["n"], policy="replace").wait_ready(10)
done, sent = threading.Event(), [0, 0]
def publish():
    while not done.is_set():
        bus.publish("program.thread", {"n": sent[0]})
        sent[0] += 1
        time.sleep(0)
def subscribe():
    while not done.is_set():
        with bus.subscribe("program.mine.**", print), node.events("program.mine.**"):
            pass
def send():
    while not done.is_set():
        assert node.request("busy", {"n": sent[1]}).wait(10) == sent[1]
        sent[1] += 1
def inside():
    got = []
    topic = f"program.child.c{n}"
    with bus.subscribe(topic, got.append), node.events(topic) as events:
        bus.publish(topic, {"n": n})
        assert next(events)["n"] == got[0]["n"] == n
    assert node.request("busy", {"n": n}).wait(10) == n
threads = [threading.Thread(target=each) for each in (publish, subscribe, send)]
for thread in threads: thread.start()
pids = []
for n in range(10):
    pids.append(child(inside))
    before = list(sent)
    wait_until(lambda: sent[0] > before[0] and sent[1] > before[1])
for pid in pids: gone(pid)
done.set()
for thread in threads: thread.join()
print(sent[0])
""",
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    sent = int(output)
    arrive(heard, sent + 10)
    assert numbers(heard, "program.thread") == list(range(sent))
    assert sorted(event["n"] for event in heard if event["type"].startswith("program.child.")) == list(range(10))


def test_fork_in_a_callback_and_in_a_handler(shared_proxy, heard, node):
    speaker = node("speaker")
    with Script(
        FORK
        + """
node = fabric.connect("program", url=url, bus=bus)
pids, parent = [], os.getpid()
def callback(event):
    if event["n"] % 50 == 0:
        pids.append(child(lambda: bus.publish("program.child", {"n": event["n"]})))
    elif event["n"] == 70:
        pids.append(os.fork())
        if not pids[-1]: return  # into what is no delivery thread any more
    bus.publish("program.seen", {"n": event["n"], "pid": os.getpid()})
def handler(message):
    pids.append(pid := child(lambda: bus.publish("program.handled", {"n": 1})))
    pids.append(os.fork())
    return os.getpid()  # twice, and one of the two is not sent
bus.subscribe("said", callback).wait_ready(10, everyone=True)
node.endpoint("forker", handler).wait_ready(10)
print(parent, flush=True)
sys.stdin.readline()
while pids:
    if pid := pids.pop(): gone(pid)
print(node.state, node.stats()["links_lost"])
""",
        shared_proxy.url,
    ) as script:
        parent = int(script.line())
        for n in range(200):
            speaker.publish("said", {"n": n})
        assert speaker.request("forker", {}).wait(10) == parent
        wait_until(lambda: len([event for event in heard if event.get("pid") == parent]) == 200)
        script.go_on()
        assert script.end() == (0, "up 0\n", "")
    assert [event["n"] for event in heard if event.get("pid") == parent] == list(range(200))
    wait_until(lambda: sorted(numbers(heard, "program.child")) == [0, 50, 100, 150])
    wait_until(lambda: numbers(heard, "program.handled") == [1])


# The child starts clean


def test_a_child_has_endpoints_of_its_own_and_none_of_its_parents(shared_proxy, node):
    asker = node("asker")
    with Script(
        FORK
        + """
node = fabric.connect(url=url, bus=bus)
inbox = node.endpoint("inbox")
inbox.wait_ready(10)
answering = node.endpoint("answering", lambda message: os.getpid())
answering.wait_ready(10)
receipt = node.request("inbox", {})
wait_until(lambda: len(inbox))
def refused(call):
    try:
        call()
    except fabric.Closed as error:
        assert "parent" in str(error), error
        return
    raise AssertionError("not refused")
def inside():
    assert str(os.getpid()) in node.name and node.state == "connecting", node.name
    refused(inbox.receive)
    refused(receipt.wait)
    answering.close()
    inbox.close()
    with node.endpoint("childs", lambda message: os.getpid()) as own:
        own.wait_ready(10)
        print(os.getpid(), flush=True)
        sys.stdin.readline()
print(os.getpid(), flush=True)
gone(child(inside))
inbox.receive(10).reply("by the parent")
assert receipt.wait(10) == "by the parent"
""",
        shared_proxy.url,
    ) as script:
        parent, child = int(script.line()), int(script.line())
        assert asker.request("answering", {}).wait(10) == parent
        assert asker.request("childs", {}).wait(10) == child
        script.go_on()
        assert script.end() == (0, "", "")


def test_a_child_that_never_uses_it_has_no_thread_and_no_connection(fabric_proxy, node):
    here = node("here", url=fabric_proxy.url)
    with Script(
        """
        node = fabric.connect("program", url=url, bus=bus)
        bus.subscribe("wanted.by.the.parent", print).wait_ready(10)
        sys.stdin.readline()
        if not (pid := os.fork()):
            os.write(1, f"{threading.active_count()} {node.state}\\n".encode())
            sys.stdin.readline()
            os._exit(0)
        node.close()
        os.write(1, b"closed\\n")
        os._exit(0)
        """,
        fabric_proxy.url,
    ) as script:
        wait_until(lambda: here.has_interest("wanted.by.the.parent"))
        script.go_on()
        assert sorted([script.line(), script.line()]) == ["1 connecting", "closed"]
        assert script.process.wait(10) == 0
        # The child lives on, and what its parent subscribed to is wanted by nobody.
        wait_until(lambda: not here.has_interest("wanted.by.the.parent"))
        script.go_on()


def test_over_tcp_neither(node, tmp_path):
    from fabric.testing import ProxyProcess

    with ProxyProcess(f"tcp://127.0.0.1:{free_port()}") as proxy:
        here = node("here", url=proxy.url)
        with Script(
            """
            node = fabric.connect("program", url=url, bus=bus)
            bus.subscribe("wanted.by.the.parent", print).wait_ready(10)
            sys.stdin.readline()
            if not os.fork():
                sys.stdin.readline()
                os._exit(0)
            node.close()
            os._exit(0)
            """,
            proxy.url,
        ) as script:
            wait_until(lambda: here.has_interest("wanted.by.the.parent"))
            script.go_on()
            assert script.process.wait(10) == 0
            wait_until(lambda: not here.has_interest("wanted.by.the.parent"))
            script.go_on()
        here.close()


def test_children_of_children_have_origins_and_links_of_their_own(shared_proxy, heard):
    status, _, errors = run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        echoes = []
        bus.subscribe("program.generation", echoes.append)
        node.wait_ready(10)
        def beget(generation):
            bus.publish("program.generation", {"n": generation, "origin": node.origin.hex()})
            if generation < 3:
                if not (pid := os.fork()):
                    beget(generation + 1)
                    sys.exit(0)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            bus.publish("program.back", {"n": generation, "origin": node.origin.hex()})
        beget(0)
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    arrive(heard, 8)
    assert sorted(numbers(heard, "program.generation")) == [0, 1, 2, 3]
    assert sorted(numbers(heard, "program.back")) == [0, 1, 2, 3]
    origins = {event["n"]: event["origin"] for event in heard}
    assert len(set(origins.values())) == 4
    assert all(event["origin"] == origins[event["n"]] for event in heard)


def test_threads_and_signals_of_a_child_may_all_publish_first(shared_proxy, heard):
    status, output, errors = run(
        FORK
        + """
node = fabric.connect("program", url=url, bus=bus)
node.wait_ready(10)
def inside():
    from itertools import count
    handled, numbers = [], count()
    def handler(*_):  # which another signal may interrupt
        bus.publish("program.signal", {"n": next(numbers)})
        handled.append(1)
    signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    start = threading.Barrier(9)
    def pour(thread):
        start.wait()
        for n in range(20):
            signal.pthread_kill(main, signal.SIGUSR1)
            bus.publish(f"program.t{thread}", {"n": n})
            bus.subscribe(f"program.own.t{thread}", print).cancel()
    threads = [threading.Thread(target=pour, args=(thread,)) for thread in range(8)]
    for thread in threads: thread.start()
    start.wait()
    for n in range(20):
        bus.publish("program.main", {"n": n})
    for thread in threads: thread.join()
    assert len(bus) == 0
    print(len(handled), flush=True)
gone(child(inside))
""",
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    handled = int(output)
    arrive(heard, 180 + handled)
    for thread in range(8):
        assert numbers(heard, f"program.t{thread}") == list(range(20))
    assert numbers(heard, "program.main") == list(range(20))
    assert sorted(numbers(heard, "program.signal")) == list(range(handled))


def test_a_child_forked_while_a_proxy_is_started_does_not_keep_the_lock(tmp_path):
    assert run(
        """
        import fcntl
        from pathlib import Path
        from fabric.system import autostart as embedded
        from fabric.config.address import parse_address
        address, started, pids = parse_address(url), [], []
        def spawn(*_, **__):
            pids.append(os.fork())
            if not pids[0]:
                sys.stdin.readline()
                os._exit(0)
            started.append(True)
        embedded.spawn, embedded.answers = spawn, lambda address: bool(started)
        assert embedded.ensure_proxy(address)
        with (address.directory / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)
        """,
        f"ipc://{tmp_path}/p",
    ) == (0, "", "")


# Pools and servers


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_publish_and_ask_without_closing(shared_proxy, heard, node, tmp_path, method):
    node("answers").endpoint("doubler", lambda message: 2 * message["body"]["n"], policy="replace").wait_ready()
    result = run(
        f"""
        import multiprocessing
        def work(n):
            node = fabric.connect(url=url, bus=bus)  # the parent's again, if this is its fork
            bus.publish("program.worker", {{"n": n}})
            assert node.request("doubler", {{"n": n}}).wait(10) == 2 * n
            bus.publish("program.last", {{"n": n}})
        def hasty(n):
            fabric.connect(url=url, bus=bus)
            bus.publish("program.hasty", {{"n": n}})
        def call(n):
            work(n)
            return n
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            node = fabric.connect(url=url, bus=bus)
            node.wait_ready(10)
            workers = [context.Process(target=work, args=(0,)), context.Process(target=hasty, args=(1,))]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
            assert [worker.exitcode for worker in workers] == [0, 0]
            with context.Pool({4 if method == "fork" else 2}) as pool:
                assert pool.map(call, range(1, 9)) == list(range(1, 9))
                pool.close()
                pool.join()
            bus.publish("program.parent", {{"n": 0}})
        """,
        shared_proxy.url,
        path=tmp_path / "workers.py",
    )
    assert result == (0, "", "")
    arrive(heard, 20)
    assert sorted(numbers(heard, "program.worker")) == sorted(numbers(heard, "program.last")) == list(range(9))
    assert numbers(heard, "program.hasty") == [1]
    assert numbers(heard, "program.parent") == [0]


def test_a_process_pool_executors_workers_publish_without_closing(shared_proxy, heard, tmp_path):
    assert run(
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        def work(n):
            bus.publish("program.worker", {"n": n})
            return n
        if __name__ == "__main__":
            node = fabric.connect("program", url=url, bus=bus)
            node.wait_ready(10)
            with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
                assert list(pool.map(work, range(40))) == list(range(40))
        """,
        shared_proxy.url,
        path=tmp_path / "pool.py",
    ) == (0, "", "")
    arrive(heard, 40)
    assert sorted(numbers(heard, "program.worker")) == list(range(40))


def test_a_pre_forking_server_whose_worker_is_killed_and_replaced(shared_proxy, heard, node):
    asker = node("asker")
    with Script(
        """
        node = fabric.connect("server", url=url, bus=bus)
        node.wait_ready(10)
        def worker():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            bus.publish("program.started", {"n": os.getpid()})
            node.endpoint("server", lambda message: os.getpid(), policy="share").wait_ready(10)
            bus.publish("program.serving", {"n": os.getpid()})
            while True:
                signal.pause()
        def start():
            if pid := os.fork():
                return pid
            worker()
        workers = {start() for _ in range(4)}
        killed = os.waitpid(-1, 0)[0]
        workers.remove(killed)
        workers.add(start())
        bus.publish("program.replaced", {"n": killed})
        sys.stdin.readline()
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        assert [os.waitpid(pid, 0)[1] for pid in workers] == [0] * 4
        """,
        shared_proxy.url,
    ) as script:
        wait_until(lambda: len(numbers(heard, "program.serving")) == 4)
        first = set(numbers(heard, "program.serving"))
        assert {asker.request("server", {}).wait(10) for _ in range(8)} == first
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(numbers(heard, "program.serving")) == 5)
        assert numbers(heard, "program.replaced") == [victim]
        now = set(numbers(heard, "program.serving")) - {victim}

        def served():
            receipts = [asker.request("server", {}) for _ in range(8)]
            wait_until(lambda: all(receipt.done for receipt in receipts))
            return {receipt.wait() for receipt in receipts if receipt.error is None}

        wait_until(lambda: served() == now)
        script.go_on()
        assert script.end() == (0, "", "")
    assert len(numbers(heard, "program.started")) == 5
