# Needs Python >= 3.11, git and make. Every target sets up .venv by itself; a second run finds it in place.
#   make setup PYTHON=/path/to/python3.12    another Python
#   make test PYTEST_ARGS="-k feed -x"       a part of the tests
#   make lock LOCK_ARGS=--upgrade            newer versions of everything

BIN := .venv/bin
TEST_WORKERS ?= 3
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 300
LOCK_ARGS ?=
# One worker runs a whole file, so that the servers that a file starts are started once; slow files, which come first by
# their names, begin first.
PYTEST := $(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder
export PYTHON
# The hundreds of processes that the tests start would each compile Chimera anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check bench fuzz lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv from requirements.lock
	@sh scripts/setup.sh

demo: setup ## run the main job on a small feed, with nothing configured
	@$(BIN)/chimera demo

test: setup ## run the tests, without the long ones
	$(PYTEST) -m "not long" $(PYTEST_ARGS)

test-all: setup ## run every test, with more examples of each property
	$(PYTEST) --hypothesis-profile=many $(PYTEST_ARGS)

check: setup ## lint, format, types, layers, and whether the lock fits pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright
	$(BIN)/pytest -q -p no:cacheprovider tests/unit/test_packaging.py

bench: setup ## run the evaluation of missions and print its figures
	$(BIN)/chimera eval missions --json

fuzz: setup ## fuzz each target for FUZZ_SECONDS (default 300)
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

lock: setup ## write requirements.lock again from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" \
		$(LOCK_ARGS) --output-file requirements.lock pyproject.toml

clean: ## remove .venv, caches and built files; the data of Chimera stays
	rm -rf .venv .venv-uv .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .deepeval .langgraph_api dist build
	find chimera tests -name __pycache__ -type d -prune -exec rm -rf {} +
