# Every target sets up what it needs first: a .venv with pinned dependencies.
.PHONY: setup demo test test-all app lint docs bench scores levers digits faithful streaming reproduce web clean
PYTHON ?= python3
BIN := .venv/bin
# What `make web` takes: the machine's own npm, or else one from the package index.
NPM := $(or $(shell command -v npm),$(BIN)/npm)
ORT := web/node_modules/onnxruntime-web/dist
MODEL ?= digits
WEB ?= build/web

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speech,app,export,video]'
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speech,app,export,video,dev,docs]'
	touch $@

demo: .venv/.installed  ## data -> train -> score -> pictures -> runs/demo/report.html
	$(BIN)/synesthete demo

test: .venv/.installed-dev  ## the fast tests
	$(BIN)/pytest

test-all: .venv/.installed-dev  ## every test, slow ones too
	$(BIN)/pytest -m 'slow or not slow'

app: .venv/.installed  ## the page to speak to, with the bundled model
	$(BIN)/synesthete app

lint: .venv/.installed-dev  ## formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/.installed-dev  ## the documentation -> build/site/index.html; a broken link is an error
	$(BIN)/zensical build --clean --strict

bench: .venv/.installed-dev  ## speeds, as ratios of one run -> bench/README.md
	$(BIN)/python bench/run.py

scores: .venv/.installed-dev  ## train and score every published recipe (many hours, resumable)
	$(BIN)/python bench/scores.py

levers: .venv/.installed-dev  ## the levers for unseen speakers, on inner folds (three hours, resumable)
	$(BIN)/python bench/levers.py

digits: .venv/.installed-dev  ## the bundled model, from nothing (about 50 minutes, resumable)
	$(BIN)/python bench/digits.py

faithful: .venv/.installed-dev  ## the bundled model's dial and robustness -> docs/faithful-and-diverse.md
	$(BIN)/python bench/faithful.py

streaming: .venv/.installed-dev  ## memory and throughput from 10,000 to a million pairs -> docs/streaming.md (half an hour, 3 GB)
	$(BIN)/python bench/streaming.py

reproduce: .venv/.installed-dev  ## every system of the deck beside its figures -> docs (hours, resumable; FROM=docs keeps what is done there)
	$(if $(FROM),mkdir -p runs/reproduce && cp -r $(FROM)/stages $(FROM)/figures runs/reproduce/)
	$(BIN)/synesthete reproduce --out runs/reproduce
	rm -rf docs/figures docs/stages
	mkdir docs/figures
	cd runs/reproduce && cp -r reproduction.md stages $(CURDIR)/docs/
	cd runs/reproduce && cp $$(grep -o 'figures/[^)]*png' reproduction.md | sort -u) $(CURDIR)/docs/figures/

web: .venv/.installed $(NPM)  ## the page that hears and draws in a browser -> build/web, for any static host
	$(NPM) ci --prefix web --ignore-scripts --no-audit --no-fund
	rm -rf $(WEB).draft && mkdir -p $(WEB).draft
	cp web/*.html web/*.css web/*.js $(WEB).draft
	cp $(ORT)/ort.wasm.bundle.min.mjs $(WEB).draft/ort.js
	cp $(ORT)/ort-wasm-simd-threaded.wasm $(WEB).draft
	$(BIN)/synesthete export $(MODEL) --half --onnx $(WEB).draft/model.onnx
	$(BIN)/python -c 'import synesthete, sys; print("{\"sample_rate\": %d}" % synesthete.load(sys.argv[1]).rate)' \
		$(MODEL) > $(WEB).draft/model.json
	rm -rf $(WEB) && mv $(WEB).draft $(WEB)

$(BIN)/npm: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[web]'

clean:  ## forget the environment (runs and data stay)
	rm -rf .venv
