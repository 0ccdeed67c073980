# Each target does its own set-up. PYTHON names the interpreter that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench docs lock clean help

help:
	@echo "make demo   inspect a street of real sites on loopback, order by ACME from a local CA, and clean up"
	@echo "make test   run every test (installs nginx, Apache, HAProxy, pebble, BIND, PostgreSQL, Dovecot, slapd, sshd, Chromium, axe-core when root)"
	@echo "make check  ruff, mypy, import rule, documentation"
	@echo "make bench  the speed figures, side by side with other scanners"
	@echo "make docs   write docs/commands.md and docs/findings.md from the program; bring the catalogues up to date"
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

test: $(VENV)/.dev
	@sh tools/servers.sh
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -p no:cacheprovider tests/test_imports.py tests/test_docs.py

bench: $(VENV)/.dev
	@sh tools/servers.sh bench
	$(BIN)/python -m bench

docs: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tools/document.py
	PYTHONPATH=. $(BIN)/python tools/catalogue.py

lock: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra postgresql pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra postgresql --group dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/out
