# Every target makes the environment that it needs: Python 3.11 or newer and make
# are all that must be there.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CONFIG ?= configs/quickstart.yaml
# Where promtool is put (see browser-tools).
export PATH := $(abspath $(VENV))/bin:$(PATH)
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo up down test lint format bench bench-scale nodes chaos fidelity experiments browser-tools clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: no python3.11 or python3 on PATH" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: $(PYTHON) is older (set PYTHON=...)" >&2; exit 1; }
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "Installing what a cluster needs (minutes the first time)"
	@$(PIP) --editable '.[experiments]'
	@touch $@

$(DEV_STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the tests need (minutes the first time)"
	@$(PIP) --editable '.[dev,clients,embeddings,bench,experiments,parquet,s3]'
	@touch $@ $(RUN_STAMP)

demo: $(RUN_STAMP) ## The tour: start a cluster, show cold starts to dead letters, stop it
	@$(VENV)/bin/orchestrator demo

up: $(RUN_STAMP) ## Start a cluster from CONFIG and leave it running
	@$(VENV)/bin/orchestrator up $(CONFIG) --detach

down: $(RUN_STAMP) ## End what `make up` started
	@$(VENV)/bin/orchestrator down

lint: $(DEV_STAMP) ## ruff, mypy and the import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# One run a folder, so that the clusters of one are gone before the next starts its own.
# Unit tests mostly wait for small servers, so several run at a time.
test: lint browser-tools ## lint, then every test
	$(VENV)/bin/pytest --numprocesses 3 tests/unit
	$(VENV)/bin/pytest tests/kubernetes
	$(VENV)/bin/pytest tests/clients
	$(VENV)/bin/pytest tests/integration
	$(VENV)/bin/pytest tests/console
	$(VENV)/bin/pytest tests/chaos

# Debian's own packages: `chromium` for the operations page, and promtool out of `prometheus`,
# which is unpacked only: installed, it would be a server that starts and listens. Where they
# cannot be had, the tests that need them say so, and fail only where CI=true.
browser-tools: ## Get chromium and promtool, where they are missing and apt-get can
	@command -v apt-get >/dev/null || exit 0; \
	command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ]; then \
	  echo "Installing chromium"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq --yes --no-install-recommends chromium >/dev/null; \
	else \
	  echo "Missing for the operations page's tests (as root: apt-get install chromium)" >&2; \
	fi
	@command -v apt-get >/dev/null || exit 0; \
	command -v promtool >/dev/null || { \
	  echo "Getting promtool"; \
	  folder=$$(mktemp -d) && cd $$folder && chmod 755 $$folder \
	    && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
	    && dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool "$(abspath $(VENV))/bin/"; \
	  rm -rf "$$folder"; }

format: $(DEV_STAMP) ## Let ruff rewrite what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV_STAMP) ## Measure against LitServe, BentoML and Ray Serve (not part of test)
	$(VENV)/bin/python -m tests.benchmarks

bench-scale: $(DEV_STAMP) ## Measure how permits, environments, routers and dispatchers grow, for docs/scale.md (not part of test)
	$(VENV)/bin/python -m tests.benchmarks.scale --update

nodes: $(DEV_STAMP) ## Lose, cut off and drain nodes of a cluster in network namespaces (as root; not part of test)
	$(VENV)/bin/pytest tests/nodes

chaos: $(DEV_STAMP) ## Kill every part under load, and see that what was accepted adds up (not part of test)
	$(VENV)/bin/python -m tests.chaos

fidelity: $(DEV_STAMP) ## Replay recorded traffic against a cluster, and compare with its simulation (not part of test)
	$(VENV)/bin/python -m tests.fidelity

experiments: $(DEV_STAMP) ## Simulate the shipped experiments anew, for docs/experiments.md (not part of test)
	$(VENV)/bin/python -m tests.experiments.regenerate

clean: ## Remove the environment and the caches
	rm -rf $(VENV) .bench .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
