# Every target installs what it needs into .venv, from the hash-pinned lock files, and nothing outside of it
# but a per-user cache of Go modules and control-plane binaries.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV ?= $(or $(shell command -v uv),$(BIN)/uv)
export UV_PYTHON_DOWNLOADS := never
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# Compiled modules are kept: every start of Python would compile them anew otherwise.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test e2e campaign lint format typecheck bench cluster lock clean

help:  ## show the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "connect-autoscaler needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(UV): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock

$(VENV)/.synced: requirements-dev.lock pyproject.toml | $(UV)
	$(UV) pip sync --quiet --compile-bytecode --require-hashes requirements-dev.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/.synced  ## see it work on a real local control plane (KEEP=1 leaves it running, PAGE=file)
	$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(VENV)/.synced  ## run all tests on the real control plane
	$(BIN)/python -m sandbox build
	$(BIN)/python -m pytest --numprocesses 3 -m "not long" $(PYTEST_ARGS)

e2e: $(VENV)/.synced  ## play the page's scenarios at length on both Karpenters (E2E_CHURN: minutes), and all long tests
	$(BIN)/python -m sandbox build
	E2E_CHURN="$(or $(E2E_CHURN),1.14=10 1.15=3)" $(BIN)/python -m pytest --numprocesses 0 -rP $(PYTEST_ARGS) tests/e2e/test_scenarios.py
	$(BIN)/python -m pytest --numprocesses 3 -m long $(PYTEST_ARGS)

campaign: $(VENV)/.synced  ## every fault at every request, a soak, operations and fuzzing; fills in docs/reliability.md
	$(BIN)/python -m sandbox build
	$(BIN)/python -W ignore -m reliability.campaign $(CAMPAIGN_ARGS)
	$(BIN)/python -W ignore -m reliability.soak
	$(BIN)/python -m reliability.operations_campaign
	$(BIN)/python -m reliability.fuzz

lint: $(VENV)/.synced  ## ruff, the import contracts, hadolint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/hadolint --failure-threshold style Dockerfile

format: $(VENV)/.synced  ## let ruff put it right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

typecheck: $(VENV)/.synced  ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.synced  ## measure against the floor and kro
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

cluster: $(VENV)/.synced  ## start a local control plane for your shell (Ctrl-C stops it)
	$(BIN)/python -m sandbox up

lock: $(UV)  ## refresh the lock files from pyproject.toml (UPGRADE=1 takes newer versions)
	$(UV) pip compile $(LOCK) pyproject.toml -o requirements.lock
	$(UV) pip compile $(LOCK) pyproject.toml --group dev -o requirements-dev.lock
	$(UV) pip compile $(LOCK) --group go -o requirements-go.lock
	grep '^uv==' requirements-dev.lock | sed 's/ .*//' | $(UV) pip compile $(LOCK) - -o requirements-uv.lock

LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

clean:  ## remove the virtual environment and caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
