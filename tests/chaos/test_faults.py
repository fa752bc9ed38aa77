"""The plan of a run: the same seed, the same faults."""

from tests.chaos.faults import FAULTS, kinds_on, plan


def test_the_same_seed_is_the_same_plan():
    assert plan(7, 60, 2, kinds_on("ipc")) == plan(7, 60, 2, kinds_on("ipc"))
    assert plan(7, 60, 2, kinds_on("ipc")) != plan(8, 60, 2, kinds_on("ipc"))


def test_every_kind_comes_before_any_comes_twice():
    kinds = kinds_on("tcp")
    drawn = [fault.kind for fault in plan(7, 3_600, 2, kinds)]
    assert sorted(drawn[: len(kinds)]) == sorted(kinds)


def test_what_only_one_transport_has_comes_first():
    for seed in range(20):
        assert plan(seed, 20, 2, kinds_on("tcp"))[0].kind == "network cut"
        assert plan(seed, 20, 2, kinds_on("ipc"))[0].kind == "socket file deleted"


def test_faults_are_over_when_the_time_is():
    for seed in range(50):
        faults = plan(seed, 60, 2, kinds_on("tcp"))
        assert faults
        assert faults[-1].at + faults[-1].length <= 60.1


def test_a_transport_has_its_own_faults():
    assert set(kinds_on("ipc")) ^ set(kinds_on("tcp")) == {"socket file deleted", "network cut"}
    assert set(kinds_on("ipc")) | set(kinds_on("tcp")) == set(FAULTS)
