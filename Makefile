# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test test-faults lint types layers unit coverage docs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; set PYTHON=..."'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-demo: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[weights]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

# One thread: two round otherwise, which after so few steps is like another seed.
demo: $(VENV)/.installed-demo
	OMP_NUM_THREADS=1 $(BIN)/bench run --method softmax --method gmmseg --dataset toyscapes --recipe settled \
		--set recipe.steps=450 --data-root $(DEMO)/data --results $(DEMO)/results
	$(BIN)/bench pictures $(DEMO)/results --data-root $(DEMO)/data
	$(BIN)/bench leaderboard $(DEMO)/results --format md --format html --out $(DEMO)/leaderboard
	$(BIN)/bench leaderboard $(DEMO)/results

test: lint types layers unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

layers: $(VENV)/.installed-test
	$(BIN)/lint-imports

unit: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov

# Writes into the README which share of the lines the last `make unit` ran.
coverage: $(VENV)/.installed-test
	perl -pi -e "s/[0-9.]+ % of the lines/$$($(BIN)/coverage report --format=total) % of the lines/" README.md

test-faults: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m long tests/faults

# The site lies in build/docs. A page that no list names, a broken link or a docstring that cannot be read ends it.
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs -d build/doctrees . build/docs

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
