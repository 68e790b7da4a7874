# On a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROFILE ?= all

.PHONY: help install demo demo-auto down test lint types bench storm soak hardened clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed; say which one with: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "· a virtual environment in $(VENV), and what the project needs (a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "No virtual environment could be made: on Debian, apt-get install python3-venv."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[erp,dev]'
	@touch $@

install: $(VENV)/.installed ## the environment, with everything pinned

demo: install ## the whole house on this machine; ends by saying what waits for you
	@$(BIN)/gates demo up

demo-auto: install ## the same, with people of the demo deciding; then the books are checked
	@$(BIN)/gates demo auto

down: ## stop what the demo started
	@test ! -x $(BIN)/gates || $(BIN)/gates demo down

test: install ## all tests but the soak
	@$(BIN)/python -m pytest -n 3 --dist loadfile

lint: install ## ruff, all rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install ## mypy, strict
	@$(BIN)/mypy gates integrations flows

bench: install ## speed: medians, p95, ratios against a floor in the same run
	@$(BIN)/python -m tests.benchmarks --profile $(PROFILE)

storm: install ## a minute of kills, cuts and delays; the seed is printed (STORM="--seed 7 --kills 60")
	@$(BIN)/python -m tests.storm $(STORM)

soak: install ## the rest of the crash tests, then 300 kills and more, with both stores and the whole house
	@$(BIN)/python -m pytest -m soak
	@$(BIN)/python -m tests.storm --kills 320 --profile all $(STORM)

hardened: install ## as root on Linux: the house with a user for each process, in /var/lib/prefect-gates
	@$(BIN)/gates hardened up

clean: down ## remove the demo's data and the environment
	@rm -rf .gates $(VENV)
