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

# The first of these that is Python 3.11; `make PYTHON=/path/to/python3.11 ...` names another.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	if $$p -c $(IS_SUPPORTED) 2>/dev/null; then echo $$p; exit; fi; done)
IS_SUPPORTED := 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'

# Passed on: make compare ARGS="--dtype float32", make test ARGS="-k masking", and pip's options.
ARGS ?=
PIP_ARGS ?=

PYTEST := $(RUN) pytest --numprocesses 2 --dist loadfile

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

.PHONY: test-all
test-all: lint  ## run every test, with new random examples
	@$(PYTEST) --hypothesis-profile explore $(ARGS)

.PHONY: lint
lint: $(STAMP)  ## check style and format
	@$(RUN) ruff check --quiet
	@$(RUN) ruff format --check --quiet
	@echo "style and format: ok"

.PHONY: format
format: $(STAMP)  ## fix style and format
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

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

$(STAMP): pyproject.toml constraints.txt
	@if ! $(VENV)/bin/python -c $(IS_SUPPORTED) 2>/dev/null; then \
		if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c $(IS_SUPPORTED) 2>/dev/null; then \
			echo "d2l_ext needs Python 3.11. Install it, or name it: make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "creating $(VENV)"; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "installing the four frameworks and the tools: about 2 minutes (log: $(LOG))"
	@install() { $(RUN) pip install --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS) "$$@"; }; \
	if ! { install --editable '.[all,dev]' && install --no-deps d2l; } >$(LOG) 2>&1; then \
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
