import pytest

from tests.fabric.rules.applied import Applied


@pytest.fixture
def applied(tmp_path):
    """A function that makes an applier of the text of a file; lines that it prints are in `applied.lines`."""
    made = Applied(tmp_path)
    yield made
    made.close()
