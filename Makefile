# `make run` and `make test` set up everything they need; the rest assumes nothing either.
PYTHON ?= python3
BIN := .venv/bin
# Tests mostly wait; files are shared out among as many processes as there are cores, four at most.
SPREAD ?= --numprocesses auto --maxprocesses 4 --dist loadscope

.PHONY: run test check fmt bench proof threats autobahn fuzz sbom lock clean

run: .venv/ready ## the relay with its demo page: on Gemini when GEMINI_API_KEY is set, else on the simulator
	$(BIN)/relay demo $(ARGS)

test: .venv/ready-dev ## every test; says loudly what it had to skip, and may skip nothing when CI=true
	$(BIN)/python tests/install_extras.py
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

check: .venv/ready-dev ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fmt: .venv/ready-dev ## rewrite to the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready-dev ## CPU per frame, latency, set-ups and memory beside other relays
	$(BIN)/python -m bench $(ARGS)

proof: .venv/ready-dev ## every message and every token accounted for, every limit kept; half an hour
	$(BIN)/python -m proof handovers
	$(BIN)/python -m proof matrix
	$(BIN)/python -m proof leaks
	$(BIN)/python -m proof usage
	$(BIN)/python -m proof usage --store redis
	$(BIN)/python -m proof admission
	$(BIN)/python -m proof budget
	$(BIN)/python -m proof mutations

autobahn: .venv/ready-dev ## the WebSocket engine against Autobahn's 517 cases, as server and as client; a minute
	$(BIN)/python -m tests.autobahn $(ARGS)

fuzz: .venv/ready-dev ## every parser under atheris, a minute each: make fuzz ARGS="--seconds 600 client_frames"
	$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python -m tests.fuzz $(ARGS)

sbom: .venv/ready-dev ## what the image holds, as CycloneDX, without a container tool: .venv-image/relay/sbom.cdx.json
	$(BIN)/python -m tests.deploy.tree

lock: .venv/ready-dev ## the image's dependencies pinned anew with all their hashes: make lock ARGS=--upgrade for newer ones
	$(BIN)/python -m tests.deploy.locking $(ARGS)

threats: .venv/ready-dev ## the tests behind docs/threat-model.md, and their results into it
	$(BIN)/python -m pytest $(SPREAD) -m threat --junitxml=build/threats.xml $(ARGS)
	$(BIN)/python docs/render.py build/threats.xml

clean: ## forget the environments
	rm -rf .venv .venv-sdk1 .venv-autobahn .venv-image build/fuzz tests/js/node_modules

# Debian's python3 may come without ensurepip; virtualenv brings its own pip.
.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv .venv; }

.venv/ready: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/ready-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/ready
