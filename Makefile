# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ON_PATH := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: help demo quick test test-slow fuzz hostile kills mutants audit clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

demo: .venv/ready  ## render images, train, evaluate, detect: minutes on two cores
	test -e demo/run/last.safetensors -a ! -e demo/model.safetensors || rm -rf demo
	$(BIN)/lookonce demo

quick: .venv/ready  ## at every save: linters, types, import contracts, the fast tests; under a minute
	$(ON_PATH) scripts/quick

test: .venv/ready  ## linters, types, import contracts, tests; COVERAGE=1 for their reach
	$(ON_PATH) scripts/check

test-slow: .venv/ready  ## the tests that take minutes
	$(BIN)/pytest -m slow

fuzz: .venv/ready  ## ten minutes of mutated files for every reader (FUZZ=--seconds 60 for one)
	$(BIN)/python -m tests.fuzz.run $(or $(FUZZ),--seconds 600)

hostile: .venv/ready  ## lookonce on hostile files, one process each, with limits (HOSTILE='--kind images' for a part)
	$(BIN)/python -m tests.hostile.run $(HOSTILE)

kills: .venv/ready  ## kill commands at random moments; only whole files may be left (KILLS='--runs 20' for fewer)
	$(BIN)/python -m tests.hostile.kills $(KILLS)

mutants: .venv/ready  ## change the code and see whether a test notices (MUTANTS='lookonce.train.loss*' for a part)
	$(ON_PATH) scripts/mutants $(MUTANTS)

audit: .venv/ready  ## known vulnerabilities in what is installed, or that no database answers
	$(BIN)/python -m pip install pip-audit
	$(BIN)/python scripts/audit.py

clean:  ## remove the virtual environment and what the demo made
	rm -rf .venv demo mutants

.venv/ready: pyproject.toml constraints.txt scripts/install-torch
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lookonce needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "this Python cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	scripts/install-torch $(BIN)/python
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready
