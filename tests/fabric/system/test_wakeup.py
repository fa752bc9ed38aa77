import os
import select

from fabric.system.wakeup import Wakeup


def readable(wakeup):
    poller = select.poll()
    poller.register(wakeup.descriptor, select.POLLIN)
    return bool(poller.poll(0))


def test_it_is_readable_once_set_and_until_cleared():
    wakeup = Wakeup()
    assert not readable(wakeup)
    wakeup.set()
    wakeup.set()
    assert readable(wakeup)
    wakeup.clear()
    assert not readable(wakeup)
    wakeup.close()


def test_clearing_one_that_was_not_set_does_not_block():
    wakeup = Wakeup()
    wakeup.clear()
    wakeup.close()


def test_setting_it_a_hundred_thousand_times_does_not_block():
    wakeup = Wakeup()
    for _ in range(100_000):
        wakeup.set()
    wakeup.close()


def test_setting_a_closed_one_writes_into_no_file_that_reuses_its_descriptor(tmp_path):
    wakeup = Wakeup()
    wakeup.close()
    descriptors = [os.open(tmp_path / str(n), os.O_CREAT | os.O_RDWR) for n in range(4)]
    wakeup.set()
    sizes = [os.fstat(descriptor).st_size for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    assert sizes == [0, 0, 0, 0]
