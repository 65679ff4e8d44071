# make run | demo | test | bench | lint     Everything else is set up as needed, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config.yaml

.PHONY: run demo test bench lint lock schema docs screenshots clean

run: $(VENV)/ready
	@[ -e $(CONFIG) ] || $(BIN)/python app.py init --config $(CONFIG)
	@$(BIN)/python app.py serve --config $(CONFIG)

# KEEP=1 leaves the demo running, to look at the dashboard.
demo: $(VENV)/ready
	@$(BIN)/python app.py demo $(if $(KEEP),--keep)

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

bench: $(VENV)/dev
	$(BIN)/python -m bench

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(VENV)/dev
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

# What editors know of rule files and of config.yaml; a test tells when the files are stale.
schema: $(VENV)/ready
	@for what in rules config; do $(BIN)/python app.py schema $$what --no-config --output docs/schema/$$what.json; done

# The tables of docs/integrations.md and the examples of config.example.yaml, from the code; a test tells when they are stale.
docs: $(VENV)/ready
	@$(BIN)/python docs/generate.py

# The pictures of the README and the docs, of a demo that is started for them. Needs chromium.
screenshots: $(VENV)/ready
	@$(BIN)/python docs/screenshots.py docs/images --demo

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	  else echo "Python's venv module is missing: sudo apt-get install python3-venv"; exit 1; fi; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/ready: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing what Postroom needs into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev: requirements-dev.lock $(VENV)/ready
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
