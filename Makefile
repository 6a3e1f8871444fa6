# Every target sets up what it needs first: a .venv with pinned dependencies.
.PHONY: setup demo test test-all app test-app lint bench scores digits faithful reproduce clean
PYTHON ?= python3
BIN := .venv/bin

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speech]'
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speech,dev]'
	touch $@

# Gradio asks for pillow below 13, so the page has an environment of its own, where that one pin
# differs.
.venv-app/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-app
	sed 's/^pillow==.*/pillow==12.3.0/' constraints.txt > .venv-app/constraints.txt
	.venv-app/bin/pip install --quiet --constraint .venv-app/constraints.txt --editable '.[speech,app,dev]'
	touch $@

demo: .venv/.installed  ## data -> train -> score -> pictures -> runs/demo/report.html
	$(BIN)/synesthete demo

test: .venv/.installed-dev  ## the fast tests
	$(BIN)/pytest

test-all: .venv/.installed-dev  ## every test, slow ones too
	$(BIN)/pytest -m 'slow or not slow'

app: .venv-app/.installed  ## the page, for the bundled model
	.venv-app/bin/synesthete app

test-app: .venv-app/.installed  ## the page's tests, in Chromium
	.venv-app/bin/pytest -m 'slow or not slow' tests/test_app.py tests/test_app_load.py

lint: .venv/.installed-dev  ## formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.installed-dev  ## speeds, as ratios of one run -> bench/README.md
	$(BIN)/python bench/run.py

scores: .venv/.installed-dev  ## train and score every published recipe (many hours, resumable)
	$(BIN)/python bench/scores.py

digits: .venv/.installed-dev  ## the bundled model, from nothing (about 40 minutes, resumable)
	$(BIN)/python bench/digits.py

faithful: .venv/.installed-dev  ## the bundled model's dial and robustness -> docs/faithful-and-diverse.md
	$(BIN)/python bench/faithful.py

reproduce: .venv/.installed-dev  ## every system of the deck beside its figures -> docs (hours, resumable; FROM=docs keeps what is done there)
	$(if $(FROM),mkdir -p runs/reproduce && cp -r $(FROM)/stages $(FROM)/figures runs/reproduce/)
	$(BIN)/synesthete reproduce --out runs/reproduce
	rm -rf docs/figures docs/stages
	mkdir docs/figures
	cd runs/reproduce && cp -r reproduction.md stages $(CURDIR)/docs/
	cd runs/reproduce && cp $$(grep -o 'figures/[^)]*png' reproduction.md | sort -u) $(CURDIR)/docs/figures/

clean:  ## forget the environment (runs and data stay)
	rm -rf .venv
