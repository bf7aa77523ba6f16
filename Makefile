# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ON_PATH := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: help demo quick test test-slow fuzz hostile kills mutants audit clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

demo: .venv/ready  ## render images, train, evaluate, detect and explain; a few minutes on two cores
	test -e demo/run/last.safetensors -a ! -e demo/model.safetensors || rm -rf demo
	$(BIN)/lookonce demo

quick: .venv/ready  ## linters, types, import contracts and the fastest tests; under a minute
	$(ON_PATH) scripts/quick

test: .venv/ready  ## linters, types, import contracts, all tests; COVERAGE=1 prints the coverage
	$(ON_PATH) scripts/check

test-slow: .venv/ready  ## tests that take minutes
	$(BIN)/pytest -m slow

fuzz: .venv/ready  ## run every reader on mutated files for ten minutes (FUZZ='--seconds 60' for one)
	$(BIN)/python -m tests.fuzz.run $(or $(FUZZ),--seconds 600)

hostile: .venv/ready  ## run lookonce on hostile files, one process each, with limits (HOSTILE='--kind images' for one kind)
	$(BIN)/python -m tests.hostile.run $(HOSTILE)

kills: .venv/ready  ## kill commands at random moments and check the files left behind (KILLS='--runs 20' for fewer)
	$(BIN)/python -m tests.hostile.kills $(KILLS)

mutants: .venv/ready  ## change the code and check whether a test fails (MUTANTS='lookonce.train.loss*' for one module)
	$(ON_PATH) scripts/mutants $(MUTANTS)

audit: .venv/ready  ## check the installed packages for known vulnerabilities
	$(BIN)/python -m pip install pip-audit
	$(BIN)/python scripts/audit.py

clean:  ## remove the virtual environment and the demo's files
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
