# The doors of the project. `make demo` and `make test` work on a fresh machine; the others come along.
SHELL := /bin/bash
PLATFORM := .venv/bin/platform
TEST := .venv/bin/python tools/test.py

.DEFAULT_GOAL := help
.PHONY: help demo up down status test test-unit test-e2e test-year lint format locks dashboards bench bench-containers bench-serving bench-drift venv venv-dev installed

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: venv ## install, start everything, take the sample once through the loop
	@$(PLATFORM) demo

up: venv ## install what is missing and start the stack
	@$(PLATFORM) up

down: venv ## stop the stack; data stays
	@$(PLATFORM) down

status: venv ## how every service is
	@$(PLATFORM) status

test: installed ## all tests: each package in its own environment, then a real stack
	@$(TEST) all

test-unit: installed ## only the tests that need no service
	@$(TEST) unit

test-e2e: installed ## only the tests on a real stack
	@$(TEST) e2e

test-year: installed ## the first months of the sample's year, as `platform demo --year` tells them: ten minutes
	@$(TEST) year

lint: installed ## format, lint and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@git ls-files '*Dockerfile' | xargs .venv/bin/hadolint
	@.venv/bin/compose-lint check --config .compose-lint.yml --strict-config --fail-on medium --skip-suppressed --quiet compose/*/compose.yml
	@tools/types.sh

format: venv-dev ## put the code into the house's format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

locks: venv ## resolve every component anew and write its lock
	@tools/lock.sh

dashboards: venv-dev ## write Grafana's dashboards from tools/dashboards
	@.venv/bin/python -m tools.dashboards

bench: installed ## measure: demo, up, down, memory, steps, ingestion
	@.venv/bin/python -m benchmarks

bench-containers: venv-dev ## the same of the stack in containers, with the sizes of its images
	@.venv/bin/python -m benchmarks.containers

bench-serving: installed ## the model server beside others: prints the tables of docs/serving.md
	@.venv/bin/python -m benchmarks.serving

bench-drift: installed ## drift of a million predictions, and false alarms: prints the tables of docs/monitoring.md
	@.venv/bin/python -m benchmarks.drift

venv:
	@tools/bootstrap.sh

venv-dev: venv
	@tools/bootstrap.sh --dev

installed: venv-dev
	@tools/java.sh
	@tools/workspaces.sh
	@$(PLATFORM) install --all
