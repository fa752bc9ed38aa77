"""The version of the distribution, in a module that imports nothing.

`fabric.__version__` for applications; `proxy` and `cli` import it from here. `pyproject.toml` states the same number, and a
test compares the two.
"""

__version__ = "0.1.0"
