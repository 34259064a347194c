# Offhook: every command a person needs. `make` alone lists them. Needs Python 3.11+ and make; set-up goes into .venv.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test lint soak bench wheel lock clean setup setup-dev

BIN := .venv/bin

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: setup ## place a call through Offhook and an app, write demo-out/ (sets up on first use)
	@$(BIN)/offhook demo

test: setup-dev ## style, types, layers, tests, coverage; ends with 'N passed, N failed'
	@$(BIN)/python -m tools.check

lint: setup-dev ## style, types and layers only
	@$(BIN)/python -m tools.check --lint

soak: setup-dev ## the long tests
	@$(BIN)/python -m pytest -m soak -s

bench: setup-dev ## measurements: tick, codec, SIP messages, StopAudio, stream, sip, trace, kit (results in bench/results/)
	@for script in bench/tick.py bench/codec.py bench/sip_messages.py bench/stop_audio.py bench/stream.py bench/sip.py bench/trace.py bench/barge_in.py bench/kit.py; do \
	    if [ -f $$script ]; then echo "== $$script =="; $(BIN)/python $$script || exit 1; \
	    else echo "== $$script == (not there)"; fi; \
	done

wheel: setup-dev ## wheel and source archive into dist/
	@$(BIN)/python -m hatchling build

lock: ## pin requirements/*.txt and the JavaScript lockfile anew (network, uv, npm)
	@tools/lock

clean: ## remove all that set-up and runs have made
	rm -rf .venv build dist demo-out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* .coverage-*
	rm -rf tests/conformance/js/node_modules
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@python="$$(tools/find-python)" && "$$python" tools/bootstrap.py server

setup-dev:
	@python="$$(tools/find-python)" && "$$python" tools/bootstrap.py dev
