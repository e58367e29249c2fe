# The front door: every verb is one line. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup rehearse aws test check browser bench lab doctor status down sample lock clean
WORKBOOK := .venv/bin/workbook
PYTHON ?= python3
# compiled once instead of at every start: importing what a notebook needs takes a third of the time
export PYTHONDONTWRITEBYTECODE :=

help:  ## List what can be made
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
rehearse: setup  ## Run the whole workbook on this machine; ends with the path of the evidence
	@$(WORKBOOK) run --profile rehearsal

aws: setup  ## Run the whole workbook on AWS: real resources, real money, removed at the end
	@$(WORKBOOK) run --profile aws

lab: setup  ## Open the notebooks in JupyterLab
	@.venv/bin/jupyter lab notebooks

status: setup  ## Say how far the newest run is
	@$(WORKBOOK) status

down: setup  ## Stop every process that runs have left
	@$(WORKBOOK) down

doctor: setup  ## List programs and libraries: version, found or not, what absence costs
	@$(WORKBOOK) doctor

##@ Develop
setup:  ## Install what is missing, into the checkout, without root
	@$(PYTHON) ci/setup.py

test: setup check  ## Run every check and every test
	@.venv/bin/pytest -n 2 --no-loadscope-reorder -m "not timing"
	@.venv/bin/pytest -m timing tests  # these measure time, and so run alone

check: setup  ## Lint, types, order of the rooms, rules for notebooks and words
	@.venv/bin/python ci/check.py

browser: setup  ## Open the newest evidence in a real browser: phone, desktop, print
	@.venv/bin/python ci/browser.py

bench: setup  ## Measure engine and serving against their peers, into benchmarks/results
	@.venv/bin/python -m benchmarks

sample: setup  ## Redraw docs/evidence and the README's figures from the newest finished run
	@.venv/bin/python ci/sample.py

lock: setup  ## Resolve the dependencies of pyproject.toml again, into requirements.txt
	@UV_FIND_LINKS="$(PIP_FIND_LINKS)" .tools/uv/bin/uv pip compile --quiet --upgrade --group dev \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header \
	  pyproject.toml | sed 's/+cpu//' > requirements.txt

clean:  ## Remove everything that setup installed; runs stay
	@rm -rf .venv .tools *.egg-info
