# Two commands are all a newcomer needs: `make demo` and `make test`. Both make the virtual environment themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# How many tests run at a time.
JOBS ?= 2
# BENCH_ARGS=--quick is the shortest benchmark run that still says something.
BENCH_ARGS ?=

.PHONY: demo test check soak bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo    watch this machine through the fabric (Ctrl-C ends it)"
	@echo "make test    run the tests"
	@echo "make check   lint, types, architecture"
	@echo "make soak    the fault tests at full length: 30 kills, 20 s of idling"
	@echo "make bench   compare with bare pyzmq and, where installed, nats, redis, zenoh, mosquitto"
	@echo "make clean   remove the virtual environment and caches"

$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,check]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

demo: $(VENV)/.run
	@$(BIN)/fabric demo $(DEMO_ARGS)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TEST_ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -p no:randomly tests/test_architecture.py

soak: $(VENV)/.dev
	@SOAK_KILLS=30 SOAK_IDLE=20 SOAK_JOINS=200 $(BIN)/python -m pytest -o timeout=300 tests/system $(TEST_ARGS)

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
