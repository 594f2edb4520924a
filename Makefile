# Every target sets up what it needs and skips what is already there. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base.stamp
DEV := $(VENV)/.dev.stamp
PIP := $(BIN)/pip --disable-pip-version-check --quiet
# Tests that start no engine run on two processes (tests/schedule.py); the rest one after another, on one appliance.
HEAVY := engine or appliance or browser or gpu or ray
PYTEST_LIGHT := $(BIN)/pytest --durations=25 -n 2 --dist loadgroup --no-loadscope-reorder -m "not ($(HEAVY))"
PYTEST_HEAVY := $(BIN)/pytest --durations=25 -m "$(HEAVY)"

.PHONY: help up start stop status demo quick test test-long faults bench bench-engine bench-pool bench-data bench-trainer check format docs deps lock

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "Python 3.11 is needed; point to one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making $(VENV)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(BASE): requirements/base.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing the control plane (about a minute the first time)"
	@$(PIP) install --require-hashes -r requirements/base.lock 2> >(grep -v '^WARNING: Location' >&2) || { \
		echo "the packages could not be installed: is a package index reachable? (pip's own message is above)" >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.lock $(BASE)
	@echo "installing what tests and checks need"
	@$(PIP) install --require-hashes -r requirements/dev.lock 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

up: $(BASE) ## Set everything up, start it, print how to use it; Ctrl-C stops it.
	@exec $(BIN)/coderack up

start: $(BASE) ## The same in the background; returns once a streamed answer came.
	@$(BIN)/coderack start

stop: $(BASE) ## Drain and end everything.
	@$(BIN)/coderack stop

status: $(BASE) ## Show what runs.
	@$(BIN)/coderack status

demo: $(BASE) ## Walk through what the running appliance can do, each step measured.
	@$(BIN)/coderack demo

deps: $(DEV) ## Install what the tests need, Debian's packages included when root.
	@deploy/debian-packages.sh

check: $(DEV) ## Lint, types, import rules, locks, translations.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

quick: $(DEV) ## The inner loop: checks and the tests that start no engine (under 5 minutes).
	@$(MAKE) --no-print-directory check
	@$(PYTEST_LIGHT) -q

test: deps ## Checks and all tests, from nothing on 2 cores under 45 minutes.
	@$(MAKE) --no-print-directory check docs
	@$(PYTEST_LIGHT)
	@$(PYTEST_HEAVY)

test-long: deps ## All tests and the long ones, the random ones with twenty times the examples; by hand.
	@HYPOTHESIS_PROFILE=long $(PYTEST_LIGHT)
	@HYPOTHESIS_PROFILE=long $(PYTEST_HEAVY)

faults: deps ## Only the tests that kill and break things; by hand.
	@$(BIN)/pytest tests/system/test_kills.py tests/system/test_tokens_agree.py tests/inference/gateway/test_faults.py

bench: $(DEV) ## The gateway beside nginx and the Rust router, a core each (10 minutes); by hand, quiet machine.
	@$(BIN)/python -m tests.bench.gateway

bench-engine: $(DEV) ## A real engine alone and through the gateway, and chat beside a batch (15 minutes); by hand, quiet machine.
	@$(BIN)/python -m tests.bench.end_to_end

bench-pool: $(DEV) ## What the pool costs at rest, how soon it sees a death, how long it plans (3 minutes); by hand, quiet machine.
	@$(BIN)/python -m tests.bench.pool

bench-data: $(DEV) ## How fast source code is prepared for training, and in how much memory (1 minute); by hand.
	@$(BIN)/python -m tests.bench.data

bench-trainer: $(DEV) ## The trainer beside a plain PEFT loop, tokens a second and losses (10 minutes); by hand, quiet machine.
	@$(BIN)/python -m tests.bench.trainer

docs: $(DEV) ## Build the documentation into site/.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(DEV) ## Format the code.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

lock: ## Resolve the control plane's locks again (needs uv).
	@for name in base dev ray; do \
		uv pip compile requirements/$$name.in -o requirements/$$name.lock --python-version 3.11 \
			--python-platform x86_64-manylinux_2_36 --generate-hashes --no-header --no-annotate --quiet; done
