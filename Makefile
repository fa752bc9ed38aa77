# A newcomer needs two commands: `make demo` and `make test`. Both create the virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Number of test processes.
JOBS ?= 2
# BENCH_ARGS=--quick is the shortest meaningful benchmark run.
BENCH_ARGS ?=

# Minutes of faults in `make chaos`, and their seed; without SEED the run draws a seed and prints it.
MINUTES ?= 1
SEED ?=
# The rows of `make acceptance`, such as ROWS=kill,stop; by default all. QUICK=1 shortens them, for work on a row.
ROWS ?=
QUICK ?=
ACCEPTANCE_REPORT ?= acceptance.jsonl

.PHONY: demo test test-fast check chaos acceptance bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo        watch this machine through the fabric (Ctrl-C ends it)"
	@echo "make test        run the tests"
	@echo "make test-fast   the unit tests only, in half a minute"
	@echo "make check       lint, types, architecture"
	@echo "make chaos       a fault every few seconds, and everything accounted for (MINUTES=1 SEED=)"
	@echo "make acceptance  the long runs, measured for docs/acceptance.md; ROWS=kill,stop for some of them"
	@echo "make bench       compare with bare pyzmq and, where installed, nats, redis, zenoh, mosquitto"
	@echo "make clean       remove the virtual environment and caches"

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

# The part of the suite that starts no processes besides that of the tests, so that failures show sooner.
test-fast: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(JOBS) -m 'not processes' $(TEST_ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -p no:randomly tests/test_architecture.py

chaos: $(VENV)/.dev
	@$(BIN)/python -u tests/chaos/run.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Rows run one after the other, because they measure time. The page is written even if rows failed.
acceptance: $(VENV)/.dev
	@ACCEPTANCE=$(if $(QUICK),quick,full) ACCEPTANCE_ROWS=$(ROWS) ACCEPTANCE_REPORT=$(abspath $(ACCEPTANCE_REPORT)) \
		$(BIN)/python -m pytest -n 0 -p no:randomly -o timeout=10000 -v -s tests/acceptance $(TEST_ARGS); status=$$?; \
		$(BIN)/python tests/acceptance/page.py $(ACCEPTANCE_REPORT) docs/acceptance.md; exit $$status

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
