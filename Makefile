# Commands for users and developers; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup rehearse aws test check browser bench lab doctor status down sample lock clean
WORKBOOK := .venv/bin/workbook
PYTHON ?= python3
# Python may store bytecode: imports of a notebook then take a third of the time
export PYTHONDONTWRITEBYTECODE :=

help:  ## List these commands
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
rehearse: setup  ## Run all notebooks on this machine and print the path of the evidence
	@$(WORKBOOK) run --profile rehearsal

aws: setup  ## Run all notebooks on AWS; resources cost money until stage 06 removes them
	@$(WORKBOOK) run --profile aws

lab: setup  ## Open the notebooks in JupyterLab
	@.venv/bin/jupyter lab notebooks

status: setup  ## Show the progress of the newest run
	@$(WORKBOOK) status

down: setup  ## Stop all processes of all runs
	@$(WORKBOOK) down

doctor: setup  ## List programs and libraries, their versions, and what does not work without them
	@$(WORKBOOK) doctor

##@ Develop
setup:  ## Install what is missing into this checkout; needs no root
	@$(PYTHON) ci/setup.py

# Three workers for two cores: they wait half of the time, for servers, Terraform and kernels.
test: setup check  ## Run every check and every test
	@.venv/bin/pytest -n 3 --no-loadscope-reorder -m "not timing"
	@.venv/bin/pytest -m timing tests  # these measure time, so nothing runs beside them

check: setup  ## Check style, types, import order, notebooks and secrets
	@.venv/bin/python ci/check.py

browser: setup  ## Check the newest evidence in a browser: phone, desktop and print layout
	@.venv/bin/python ci/browser.py

bench: setup  ## Compare load engine and serving with other tools; writes benchmarks/results
	@.venv/bin/python -m benchmarks

sample: setup  ## Redraw docs/evidence and the README's figures from the newest finished rehearsal
	@.venv/bin/python ci/sample.py

lock: setup  ## Pin the newest versions of all dependencies in requirements.txt
	@UV_FIND_LINKS="$(PIP_FIND_LINKS)" .tools/uv/bin/uv pip compile --quiet --upgrade --group dev \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header \
	  pyproject.toml | sed 's/+cpu//' > requirements.txt

clean:  ## Remove everything that setup installed; keeps all runs
	@rm -rf .venv .tools *.egg-info
