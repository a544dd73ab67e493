# `make serve` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help serve demo test check smoke bench golden clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

.venv/ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; enlarger needs Python 3.11 or newer with venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -U "pip>=25.1"
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install -q --group dev
	@touch $@

serve: .venv/ready  ## start the gateway on port 8000 and its model servers; ARGS="--port 9000"
	exec $(BIN)/enlarger serve $(ARGS)

demo: .venv/ready  ## enlarge a photo through a service on free ports, and stop it
	$(BIN)/python scripts/demo.py

test: .venv/ready-dev  ## all that needs no accelerator; ARGS="-k pool" narrows it
	$(BIN)/python -m pytest -ra -m "not gpu" $(ARGS)

check: .venv/ready-dev  ## lint, format, layers, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/codespell src tests docs scripts benchmarks *.md

smoke: .venv/ready-dev  ## the wheel in a clean environment, on a real photo
	$(BIN)/python scripts/smoke.py

bench: .venv/ready-dev  ## the service against the bare network; two servers against one
	PYTHONPATH=scripts $(BIN)/python benchmarks/service.py $(ARGS)

golden: .venv/ready-dev  ## make the golden pictures again, with PyTorch (a large download)
	$(BIN)/python -m pip install -q --group golden
	$(BIN)/python scripts/make_golden.py

clean:  ## remove what was installed and made
	rm -rf .venv build dist demo .*_cache
