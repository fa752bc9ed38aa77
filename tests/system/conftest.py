import pytest

from tests.system.running import Program


@pytest.fixture
def program():
    """A function that starts a program (a `peer` unless `script` says another); killed after the test."""
    started = []

    def start(*arguments, **options):
        started.append(Program(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()
        else:
            each.end()
