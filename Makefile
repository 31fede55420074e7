# Two commands do everything on a fresh Debian machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test check format lint types bench setup ngspice clean

help:
	@echo "make demo    set everything up, then size an amplifier with ngspice"
	@echo "make test    set everything up, then run the test suite"
	@echo "make check   formatting, lint and types"
	@echo "make bench   every benchmark of benchmarks/ (long)"
	@echo "make format  reformat the code"
	@echo "make clean   remove the virtual environment and build products"

# Without ngspice the surrogate answers: its designs are predictions, not results.
demo: setup
	@backend=ngspice; command -v ngspice >/dev/null || backend=surrogate; \
	$(BIN)/python agents/random_search.py --env zsgym/NMCF-v0 --budget 400 --seed 1 --backend $$backend

test: setup
	$(BIN)/python -m pytest --ngspice required $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/spice_speed.py

setup: $(VENV)/.installed ngspice
	@$(BIN)/zsgym pdk install

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

# Installs ngspice when it is missing and we may; otherwise says what to do and lets the rest go on.
ngspice:
	@command -v ngspice >/dev/null && ldconfig -p | grep -q libngspice.so.0 && exit 0; \
	if [ "$$(id -u)" = 0 ]; then SUDO=; else SUDO="sudo -n"; fi; \
	{ $$SUDO apt-get update -qq && $$SUDO apt-get install -qq -y ngspice libngspice0; } >/dev/null 2>&1 \
	|| echo "ngspice could not be installed automatically; run as root: apt-get install ngspice libngspice0"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
