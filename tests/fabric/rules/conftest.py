import pytest

from fabric.system import run_program
from tests.fabric.rules.applied import Applied


@pytest.fixture
def applied(tmp_path, monkeypatch):
    """A function that makes an applier of the text of a file; what it prints is in `applied.lines`."""
    monkeypatch.setattr(run_program, "GRACE", 0.3)
    made = Applied(tmp_path)
    yield made
    made.close()
