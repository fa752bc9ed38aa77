"""Rows run only when they are asked for: `make acceptance` sets ACCEPTANCE."""

import os

from tests.system.conftest import program

__all__ = ["program"]

collect_ignore_glob = [] if "ACCEPTANCE" in os.environ else ["test_*.py"]
