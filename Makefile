# Each target does its own set-up. PYTHON names the interpreter that the virtual environment is made from.
PYTHON ?= python3
# Another interpreter gets an environment of its own: make test PYTHON=python3.13
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
# Containers often forbid compiled modules. Each process of the tests would then compile all it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-random test-clocks test-load test-stalls soak coverage check bench bench-compare docs site sbom audit lock clean help

help:
	@echo "make demo   inspect real sites on loopback, order by ACME from a local CA, and clean up"
	@echo "make test   run every test (installs nginx, Apache, HAProxy, pebble, BIND, PostgreSQL, Dovecot, slapd, sshd, Chromium, axe-core when root)"
	@echo "make test-random, test-clocks, test-load, test-stalls, soak, coverage   the same tests shuffled, under moved clocks, on a busy machine, with processes stopped at random, at full size, measured (docs/testing.md)"
	@echo "make check  ruff, mypy, import contracts, documentation"
	@echo "make bench  the speed figures, side by side with other scanners"
	@echo "make bench-compare BASE=COMMIT  the cost of the working tree next to that of a commit"
	@echo "make docs   write docs/commands.md and docs/findings.md from the program; bring the catalogues up to date"
	@echo "make site   the documentation as a site in build/site, which loads nothing from elsewhere"
	@echo "make sbom   write build/sbom.json, the list of dependencies (CycloneDX)"
	@echo "make audit  ask PyPI for known vulnerabilities of the dependencies (docs/security.md)"
	@echo "make lock   renew requirements.lock and requirements-dev.lock"

$(VENV)/.demo: requirements.lock pyproject.toml
	@PYTHON=$(PYTHON) sh tools/venv.sh $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@PYTHON=$(PYTHON) sh tools/venv.sh $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@sh tools/servers.sh demo
	@$(BIN)/python -m certmgr demo

# worksteal: a worker that has nothing left takes tests from the others, so that none idles at the end.
# Three workers on two cores: many tests wait for a server, a poll or a time limit.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal
# ARGS goes to pytest: make test ARGS="tests/inventory --durations=10"
ARGS ?=

test: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	$(PYTEST) --durations=10 $(ARGS)

# Three seeds, or one that is given: make test-random SEEDS=17
SEEDS ?= 1 2 3
test-random: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	set -e; for seed in $(SEEDS); do $(PYTEST) -p randomly -p no:cacheprovider --randomly-seed=$$seed $(ARGS); done

test-clocks: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh clocks
	$(BIN)/python tools/clocks.py $(CLOCKS)

test-load: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	sh tools/busy.sh 4 $(PYTEST) $(ARGS)

# The effect of a busy machine without its load: processes are stopped and continued at random.
test-stalls: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	$(BIN)/python tools/stalls.py $(PYTEST) $(ARGS)

# atheris has no build for each Python and machine, so it is no dependency: without it, the fuzzers mutate blindly.
soak: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	@$(BIN)/python -m pip install --quiet --only-binary :all: atheris || echo "atheris does not install here: fuzzing is not guided by coverage"
	CERTMGR_SOAK=1 $(PYTEST) -m campaign -o faulthandler_timeout=0 --durations=0 --durations-min=1 $(ARGS)

coverage: $(VENV)/.dev
	@VENV=$(VENV) sh tools/servers.sh
	$(PYTEST) --cov --cov-report= $(ARGS)
	@for gate in inventory:96 notifiers:93 certmgr:89; do \
	package=$${gate%:*}; printf '%s: ' "$$package"; \
	$(BIN)/coverage report --format=total --include="$$package/*" --fail-under=$${gate#*:} || exit 1; done

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -p no:cacheprovider tests/test_private_apis.py tests/test_language.py tests/test_docs.py

bench: $(VENV)/.dev
	@sh tools/servers.sh bench
	$(BIN)/python -m bench

# The least CPU time of each command, next to that of another commit: make bench-compare BASE=HEAD~1
BASE ?= HEAD
bench-compare: $(VENV)/.dev
	@sh tools/servers.sh bench
	$(BIN)/python -m bench.compare $(BASE)

docs: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tools/document.py
	PYTHONPATH=. $(BIN)/python tools/catalogue.py

site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --clean

# cyclonedx-bom is installed apart, so that it is no dependency of certmgr.
sbom:
	$(PYTHON) -m venv build/sbom-tool
	build/sbom-tool/bin/python -m pip install --quiet cyclonedx-bom
	build/sbom-tool/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

# --strict: a dependency without data is a failure, and not a dependency without vulnerabilities.
AUDIT ?=
audit:
	$(PYTHON) -m venv build/audit-tool
	build/audit-tool/bin/python -m pip install --quiet pip-audit
	build/audit-tool/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock $(AUDIT)

lock: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra postgresql pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra postgresql --group dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/out
