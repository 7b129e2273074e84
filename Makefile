# Every target makes .venv when it is absent. On a machine without CUDA torch comes from constraints-cpu.txt.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
    if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then echo $$python; break; fi; done)
CONSTRAINT := $(shell if ! nvidia-smi -L >/dev/null 2>&1; then echo "-c constraints-cpu.txt"; fi)
BIN := .venv/bin
# Bytecode of what is imported is written then: 17,000 files of it, most never imported, were half the time of pip.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINT)
USE := .venv/.use
DEVELOP := .venv/.develop
# Two processes of one thread each beat two of two on two cores, and the numbers do not depend on the machine.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
# Where bytecode is not to be written, each of the processes that tests start would compile openlvm and torch anew.
unexport PYTHONDONTWRITEBYTECODE
export MYPY_NUM_WORKERS ?= 2
TIERS := not slow and not gpu and not weights
ALL_TIERS := $(if $(CONSTRAINT),not gpu and )not weights

.PHONY: help demo demo-train test test-all check bench clean

help:
	@echo "make demo       prompt the LVM that ships, mini, on pictures it has never seen: runs/demo/index.html"
	@echo "make demo-train train a small LVM on the sample pack first: runs/demo-train/index.html"
	@echo "make test       check + the fast tests (at most 8 minutes on two cores)"
	@echo "make test-all   the slow tests too (and those for a GPU, where there is one)"
	@echo "make check      lint, format, types, repository rules"
	@echo "make bench      the loader, the tokenizer, generation and training beside their peers, in their tiny form"
	@echo "make clean      remove .venv, runs and caches"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(USE): .venv/bin/python pyproject.toml constraints-cpu.txt
	$(INSTALL) -e .
	@touch $(USE)

$(DEVELOP): .venv/bin/python pyproject.toml constraints-cpu.txt
	$(INSTALL) -e '.[dev]'
	@touch $(USE) $(DEVELOP)

demo: $(USE)
	$(BIN)/openlvm demo

demo-train: $(USE)
	$(BIN)/openlvm demo --train

check: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_repository.py

test: check
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "$(TIERS)" -n 2 --dist worksteal

test-all: check
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "$(ALL_TIERS)" -n 2 --dist worksteal

bench: $(DEVELOP)
	$(BIN)/python benchmarks/loader.py --tiny
	$(BIN)/python benchmarks/tokenizer.py --tiny
	$(BIN)/python benchmarks/generation.py --tiny
	$(BIN)/python benchmarks/scoring.py --tiny
	$(BIN)/python benchmarks/training.py --tiny

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
