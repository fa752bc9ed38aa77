"""Programs for hooks."""

import pytest


@pytest.fixture
def program(tmp_path):
    """A function that makes an executable of a shell script."""
    made = []

    def make(script, name=None, mode=0o755):
        path = tmp_path / (name or f"hook{len(made)}")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        made.append(path)
        return str(path)

    return make
