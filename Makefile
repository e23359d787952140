# `make replay` and `make test` set up what they need. Another interpreter or place:
#   make PYTHON=python3.12 VENV=.venv-312 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

TRACE ?= traces/samples/mooncake_conversation_2000.parquet
OUT ?= runs/first

.DEFAULT_GOAL := help
.PHONY: help replay test test-all check format bench warmup clean

help:  ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

replay: $(INSTALLED)  ## replay the sample trace and write a report
	$(BIN)/kvsim replay $(TRACE) --policy workload-aware --instances 4 --router prefix-aware \
	    --gpu-blocks 20000 --out $(OUT) --overwrite

test: $(INSTALLED_DEV)  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not slow"

test-all: $(INSTALLED_DEV)  ## run the slow tests as well
	$(BIN)/python -m pytest

check: $(INSTALLED_DEV)  ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV)  ## put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED_DEV)  ## measure speed against the goals
	$(BIN)/python benchmarks/run.py

warmup: $(INSTALLED)  ## compile everything once
	$(BIN)/kvsim warmup

clean:  ## remove what the above made, results in runs/ excepted
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than pyproject.toml once what that asks for is installed.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "kvsim needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@ $(INSTALLED)
