# `make demo` and `make test` are all the set-up there is. Name another build of torch, say
# TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cu126", or another Python.
PYTHON ?= python3
TORCH ?= torch==2.13.0

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One mark for each build of torch asked for: naming another one installs it.
SETUP := .venv/.setup-$(shell printf '%s' '$(TORCH)' | cksum | cut -d' ' -f1)
# What tests and checks need beside it: their tools, and every optional extra.
TOOLS := .venv/.tools

.PHONY: setup demo test test-slow torture check bench clean

setup: $(SETUP)

# The package is installed in place, so only a changed pyproject.toml asks for a new installation.
$(SETUP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# pip takes any build of a version for another one of it, so a build that was there goes first.
	test -e $(SETUP) || ! ls .venv/.setup-* > /dev/null 2>&1 \
		|| $(BIN)/python -m pip uninstall --quiet --yes torch
	rm -f .venv/.setup-*
	$(PIP) $(TORCH)
	$(PIP) --editable .
	touch $(SETUP)

$(TOOLS): $(SETUP)
	$(PIP) --editable '.[dev]'
	touch $(TOOLS)

demo: setup
	$(BIN)/seq2seq train --config quickstart --run-dir runs/demo --overwrite
	$(BIN)/seq2seq evaluate --model runs/demo
	@echo
	@echo "test_novel: verbs with objects they never had in training"
	$(BIN)/seq2seq evaluate --model runs/demo --split test_novel --bleu
	@echo
	$(BIN)/seq2seq translate --model runs/demo \
		"Am Montag hat meine Schwester das rote Fahrrad verkauft." \
		"Der Junge, der den Apfel isst, ist müde." \
		"Wo kauft dein Bruder im Winter ein?"

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	# A test is one thread of work; eight processes are enough for any machine's memory.
	$(BIN)/python -m pytest -n auto --maxprocesses 8

test-slow: $(TOOLS)
	$(BIN)/python -m pytest -m slow

# Three quarters of an hour at most: kills, stops, damaged files, disks that are full.
torture: $(TOOLS)
	$(BIN)/python -m tests.torture

bench: $(TOOLS)
	$(BIN)/python -m tests.benchmarks.speed

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
