# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-slow clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

demo: .venv/ready  ## render images, train, evaluate, detect: minutes on two cores
	test -e demo/run/last.safetensors -a ! -e demo/model.safetensors || rm -rf demo
	$(BIN)/lookonce demo

test: .venv/ready  ## linters, types, import contracts, tests
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

test-slow: .venv/ready  ## the tests that take minutes
	$(BIN)/pytest -m slow

clean:  ## remove the virtual environment and what the demo made
	rm -rf .venv demo

# torch comes first and alone: constraints.txt pins the build that the rest then finds in place
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lookonce needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "this Python cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready
