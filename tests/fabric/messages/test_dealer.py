"""The session's socket, at a ROUTER that the test plays."""

import threading
from time import monotonic

import pytest
import zmq

from fabric.messages.dealer import Dealer
from fabric.messages.session.outcomes import Welcomed
from fabric.messages.session.session import Session
from fabric.protocol import verbs
from fabric.protocol.json_fields import Terms
from fabric.testing import wait_until

TERMS = Terms("boot", 5.0, 15.0, 1_000_000)


class Router:
    """The proxy's socket."""

    def __init__(self, context):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.peer = b""

    def receive(self):
        assert self.socket.poll(5_000)
        self.peer, *frames = self.socket.recv_multipart()
        return verbs.decode_for_proxy(frames)

    def send(self, message):
        self.socket.send_multipart([self.peer, *verbs.encode(message)])


@pytest.fixture
def parts():
    context = zmq.Context()
    router = Router(context)
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(f"tcp://127.0.0.1:{router.port}")
    outcomes, wakes = [], []

    def handle(outcome):
        outcomes.append(outcome)
        if outcome == "broken":
            raise ValueError(outcome)

    session = Session("node", b"12345678")
    dealer = Dealer(socket, session, outcome=handle, wake=lambda: wakes.append(1))
    yield dealer, router, outcomes, wakes
    dealer.close(0)
    router.socket.close()
    context.term()


def welcome(dealer, router, outcomes):
    dealer.call(dealer.session.start, monotonic())
    hello = router.receive()
    router.send(verbs.Welcome(verbs.VERSION, hello.attempt, TERMS))
    wait_until(lambda: dealer.service(monotonic()) and outcomes)


def test_the_frames_of_a_call_leave_in_that_call(parts):
    dealer, router, _, _ = parts
    dealer.call(dealer.session.start, monotonic())
    assert router.receive().identity.node == "node"


def test_outcomes_are_handed_out_by_service(parts):
    dealer, router, outcomes, _ = parts
    welcome(dealer, router, outcomes)
    assert outcomes == [Welcomed(*TERMS)]


def test_an_outcome_that_cannot_be_handled_does_not_stop_the_next_one(parts, caplog):
    dealer, router, outcomes, _ = parts
    welcome(dealer, router, outcomes)
    outcomes.clear()
    dealer.session.outcomes.extend(["broken", "two"])
    dealer.service(monotonic())
    assert outcomes == ["broken", "two"]
    assert "handling 'broken' failed" in caplog.text


def test_a_call_that_makes_something_due_earlier_wakes_the_control_thread(parts):
    dealer, router, outcomes, wakes = parts
    welcome(dealer, router, outcomes)
    dealer.service(monotonic())
    wakes.clear()
    dealer.call(dealer.session.register, "name", "reject", monotonic() + 0.5, monotonic())
    assert wakes


def test_messages_that_many_threads_send_at_once_arrive_whole(parts):
    dealer, router, outcomes, _ = parts
    welcome(dealer, router, outcomes)

    def ask(number):
        for n in range(50):
            dealer.call(dealer.session.endpoints, f"list-{number}-{n}", monotonic() + 5, monotonic())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dealer.service(monotonic())
    ids = {router.receive().id for _ in range(400)}
    assert ids == {f"list-{number}-{n}" for number in range(8) for n in range(50)}


def test_after_closing_nothing_is_sent_or_raised(parts):
    dealer, _, _, _ = parts
    dealer.close(0)
    dealer.call(dealer.session.start, monotonic())
    assert dealer.service(monotonic()) > 0
