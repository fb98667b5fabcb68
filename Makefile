# `make demo` and `make test` from a clean clone: the first use makes .venv, later ones reuse it.
# Needs Python 3.11 or later with venv and pip. Another interpreter, more tests at once: make PYTHON=python3.12 JOBS=8 test
# Three at once are for two cores: tests wait for a third of their time.

PYTHON ?= python3
JOBS ?= 3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check install

help:
	@echo "make demo      a stream is watched and asked about, on the CPU, with the shipped weights"
	@echo "make test      the checks below, then every test"
	@echo "make check     format, lint and types"
	@echo "make install   everything that the tests need into .venv, and nothing more"

demo: .venv/run.stamp
	@$(BIN)/favor-stream demo

test: check
	@echo "==> pytest, $(JOBS) at once"
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m "not alone"
	@echo "==> pytest, what keeps time with the world"
	@$(BIN)/python -m pytest -m alone

check: .venv/dev.stamp
	@echo "==> ruff format"
	@$(BIN)/ruff format --check
	@echo "==> ruff check"
	@$(BIN)/ruff check
	@echo "==> mypy"
	@$(BIN)/mypy

install: .venv/dev.stamp

# torch first and alone: the installer takes the build that it is offered (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL and the
# like are passed on), and what is resolved later finds it in place.
.venv/torch.stamp: constraints.txt
	@echo "==> making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@echo "==> installing torch (the largest part; minutes on a slow line)"
	@$(PIP_INSTALL) torch
	@touch $@

.venv/run.stamp: .venv/torch.stamp pyproject.toml
	@echo "==> installing favor_stream"
	@$(PIP_INSTALL) --editable .
	@touch $@

# What the tests need includes what the demo needs, so that a demo after a test installs nothing.
.venv/dev.stamp: .venv/torch.stamp pyproject.toml
	@echo "==> installing favor_stream with what training, outlets, voice and tests need"
	@$(PIP_INSTALL) --editable '.[train,mqtt,webhook,metrics,web,webrtc,voice,schema,export,onnx,openvino,rtx,ros,rerun,dev]'
	@touch .venv/run.stamp $@
