# Everything a newcomer needs. `make` lists the targets; each does its own set-up.

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
BOOTSTRAP := sh deploy/bootstrap.sh
STAMPS := .make
SECONDS_EACH ?= 60
# Workers of `make test`: more than there are processors, for most tests wait most of the time.
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The tests start hundreds of processes: what they import is compiled once, also where the environment forbids it.
unexport PYTHONDONTWRITEBYTECODE

# The demo's own options: make demo ARGS="--devices 20 --duration 60 --json"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test standards kernels long mcu exports chaos mutants fuzz pins vendored docs lint format clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMPS)/app ## Unlabelled motion becomes live labels, on this machine alone (ARGS="--help" for more)
	@$(BOOTSTRAP) system-optional mosquitto
	@$(BIN)/disc-stream demo $(ARGS)

serve: $(STAMPS)/app ## Label a broker's streams: make serve ARGS="--bundle B --broker mqtt://host"
	@$(BIN)/disc-stream serve $(ARGS)

test: $(STAMPS)/dev ## All tests, against a real Mosquitto, a real Chromium and a real Prometheus
	@$(BOOTSTRAP) system mosquitto chromium chromedriver gcc prometheus promtool
	@$(BOOTSTRAP) node-optional tests/standards $(STAMPS)/standards
	@$(BOOTSTRAP) node-optional examples/javascript $(STAMPS)/examples
	$(BIN)/pytest $(PARALLEL) $(ARGS)

standards: ## AsyncAPI's own parser and the examples' libraries, which `make test` uses where node is (pinned by package-lock.json)
	@$(BOOTSTRAP) node tests/standards $(STAMPS)/standards
	@$(BOOTSTRAP) node examples/javascript $(STAMPS)/examples

kernels: $(STAMPS)/dev ## The numeric tests with the kernels of other processors
	@PYTEST="$(BIN)/pytest" sh tests/kernels.sh $(ARGS)

long: $(STAMPS)/dev ## What takes minutes: whole trainings, and new examples for the property tests
	@$(BOOTSTRAP) system mosquitto
	$(BIN)/pytest $(PARALLEL) -m long $(ARGS)
	DISC_STREAM_EXAMPLES=explore $(BIN)/pytest $(PARALLEL) --timeout=3600 tests/property $(ARGS)

mcu: $(STAMPS)/dev ## Exported C on Cortex-M processors in QEMU, with its sizes and instructions
	@$(BOOTSTRAP) system gcc arm-none-eabi-gcc qemu-system-arm
	$(BIN)/pytest -s tests/integration/test_export_c_mcu.py $(ARGS)

exports: $(STAMPS)/dev ## Export every method on every dataset and compare 10,000 windows of each kind, for hours (ARGS="--out exports.jsonl")
	$(BIN)/python -m tests.exports.run $(ARGS)

chaos: $(STAMPS)/dev ## Kill and cut everything for minutes, and count the labels (DISC_STREAM_CHAOS_ROUNDS=100)
	@$(BOOTSTRAP) system mosquitto
	$(BIN)/pytest -s -m chaos_long tests/chaos $(ARGS)

fuzz: $(STAMPS)/dev ## Fuzz the decoders and the readers of files for a minute each (SECONDS_EACH=60)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	@for reader in cbor packed json meta label problem device-status server-status activity event model embedding; do \
		PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz_codecs.py $$reader -max_total_time=$(SECONDS_EACH) -max_len=4096 \
			-rss_limit_mb=1024 -timeout=10 -print_final_stats=1 || exit 1; done
	@for kind in $$(PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz_files.py list); do \
		PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz_files.py $$kind -max_total_time=$(SECONDS_EACH) -max_len=65536 \
			-rss_limit_mb=1024 -timeout=10 -print_final_stats=1 || exit 1; done

mutants: $(STAMPS)/dev ## Put small faults into the core and count those that its tests notice (ARGS="--help")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[mutants]"
	@$(BIN)/python -m tests.mutants.run $(ARGS)

pins: $(STAMPS)/dev ## Resolve all dependencies anew, with the hashes of their files, and list their licences
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[pins]"
	@sh deploy/pins.sh $(BIN)

vendored: $(STAMPS)/dev ## Compare the dashboard's libraries with npm
	$(BIN)/python deploy/vendored.py $(ARGS)

docs: $(STAMPS)/dev ## The documentation as a site in build/site; first the pages that are made of the code
	@$(BIN)/python docs/site/reference.py
	@$(BIN)/python docs/site/build.py

lint: $(STAMPS)/dev ## Style, types (strict) and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@sh deploy/types-js.sh

format: $(STAMPS)/dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(STAMPS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMPS)/app: pyproject.toml deploy/bootstrap.sh $(wildcard deploy/pins/*.txt)
	@$(BOOTSTRAP) install $(VENV) app demo,parquet
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: pyproject.toml deploy/bootstrap.sh $(wildcard deploy/pins/*.txt)
	@$(BOOTSTRAP) install $(VENV) dev demo,dev
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/app
