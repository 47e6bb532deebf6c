# `make check` is the developer's one command; `make demo` and `make test` are the README's two. Each works alone.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := requirements/dev.txt
DEMO ?=
TESTS ?=

# Only what the lock names may be installed: hashes for every file, nothing fetched to build with.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

PYTEST := $(BIN)/python -m pytest
# Two at a time: tests that take no time; slow ones start many processes themselves.
TWO := -n 2

.PHONY: help setup lint check test demo bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv, install the locked packages and this one

$(STAMP): $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: no '$(PYTHON)' found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) -V 2>&1) is too old: Python 3.11 or newer is needed, e.g. make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) has no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) …"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --require-hashes --requirement $(LOCK)
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lint: $(STAMP) ## format, lint, which way imports point, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

check: lint ## what to run before a commit: lint and the fast tests
	$(PYTEST) -q $(TWO) -m "not slow" $(TESTS)

test: $(STAMP) ## every test; `make test TESTS=tests/core` for some
	$(PYTEST) $(TESTS)

demo: $(STAMP) ## regions, clients and a failure on this machine; `make demo DEMO='--fault hang'`
	$(BIN)/multi-region demo $(DEMO)

bench: $(STAMP) ## the figures that the README quotes
	$(BIN)/python -m benchmarks

lock: ## resolve pyproject.toml anew into requirements/dev.txt, for every platform and Python >= 3.11
	rm -rf .lock-venv
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip --disable-pip-version-check install --quiet 'uv~=0.13'
	.lock-venv/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 --group dev --extra envoy --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --upgrade --output-file $(LOCK) pyproject.toml
	rm -rf .lock-venv

clean: ## remove what was built, .venv included
	rm -rf $(VENV) .lock-venv build dist .coverage .coverage.* htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
