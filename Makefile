# The newcomer's two commands are `make run` and `make test`. Everything they need is set up on the way.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
ARGS ?=
MINUTES ?= 60
PYTEST_ARGS ?=
COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate --python-version 3.11
say = printf '%s\n' "$(1)" >&2

.DEFAULT_GOAL := help
.PHONY: help run test proof chaos bench lint fmt clean lock setup

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

run: $(STAMP) ## set up, then the demo: simulated Groww, embedded PostgreSQL, 60 trading days, live service (ARGS="--exit --json")
	@$(BIN)/portfolio-scheduler demo $(ARGS)

test: $(STAMP) ## set up, then every check and every test (the checks go on while the tests begin)
	@$(MAKE) --no-print-directory lint & checks=$$!; \
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST_ARGS); tests=$$?; \
	wait $$checks || { $(call say,The checks above failed: make lint); exit 2; }; exit $$tests

proof: $(STAMP) ## every recipe as often as the proof asks, much longer than `make test` (PYTEST_ARGS="tests/flows")
	@PROOF=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

chaos: $(STAMP) ## read days while the database, the network and workers break all the time (MINUTES=60)
	@$(BIN)/python -m tests.crash.chaos $(MINUTES)

bench: $(STAMP) ## measure speed, memory and size on this machine, some minutes (ARGS="--only apply --json")
	@$(BIN)/portfolio-scheduler bench $(ARGS)

lint: $(STAMP) ## style, types and layers
	@$(BIN)/ruff check --quiet --output-format concise src tests
	@$(BIN)/ruff format --quiet --check src tests
	@$(BIN)/mypy --no-error-summary
	@PYTHONPATH=src $(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

fmt: $(STAMP) ## format the code
	@$(BIN)/ruff check --quiet --fix src tests || true
	@$(BIN)/ruff format --quiet src tests

lock: $(STAMP) ## resolve the dependencies anew into requirements/*.txt (hash-pinned)
	@$(COMPILE) requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/run.txt

clean: ## remove the virtual environment and everything built (never your data)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(STAMP) ## only set up

$(STAMP): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { $(call say,Python 3.11 or newer is needed; found $$($(PYTHON) --version 2>&1). Set PYTHON=/path/to/python3.); exit 2; }
	@$(call say,Setting up (once): virtual environment in $(VENV) …)
	@$(PYTHON) -m venv --clear $(VENV) || { $(call say,Could not make a virtual environment: install your system's python3-venv package and try again.); exit 2; }
	@$(BIN)/python -m pip install -qqq --disable-pip-version-check --require-hashes -r requirements/uv.txt >&2
	@$(call say,Installing pinned dependencies …)
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.txt requirements/uv.txt >&2
	@$(BIN)/uv pip install -qqq --python $(BIN)/python --no-deps --no-build-isolation -e . >&2
	@touch $(STAMP)
	@$(call say,Ready.)
