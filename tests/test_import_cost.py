"""What an import brings with it, seen from a fresh interpreter: little for the package, no devices for model and session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = [f"favor_stream.model.{path.stem}" for path in sorted((ROOT / "favor_stream" / "model").glob("[!_]*.py"))]


def printed(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_the_package_costs_numpy_and_nothing_else() -> None:
    program = """
import sys
before = set(sys.modules)
import favor_stream
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - set(sys.stdlib_module_names)))
"""
    assert printed(program) == "favor_stream numpy"


def test_an_unknown_name_is_an_attribute_error() -> None:
    program = """
import favor_stream
try:
    favor_stream.Agnet
except AttributeError as error:
    print(error)
"""
    assert printed(program) == "module 'favor_stream' has no attribute 'Agnet'"


def test_agent_and_session_load_on_first_touch() -> None:
    program = "import favor_stream; print(favor_stream.Agent.__name__, favor_stream.Session.__name__)"
    assert printed(program) == "Agent Session"


def test_model_and_session_need_no_device_libraries() -> None:
    """They must run on a machine that has a GPU and nothing else."""
    program = f"""
import importlib, sys
for name in ("av", "sounddevice", "aiomqtt", "cv2"):
    sys.modules[name] = None  # importing it raises ImportError
for name in {[*MODEL, "favor_stream.session"]}:
    importlib.import_module(name)
"""
    assert printed(program) == ""


def test_demo_needs_no_root_no_camera_no_sound_card_and_no_speech_synthesis() -> None:
    """Nothing of the kind is even imported."""
    program = """
import asyncio, sys
for name in ("sounddevice", "cv2", "espeakng_loader", "matplotlib", "jiwer", "aiomqtt"):
    sys.modules[name] = None  # importing it raises ImportError
from favor_stream import demo
from favor_stream.config import SHIPPED
from favor_stream.agent import Agent
async def run():
    async with Agent(str(SHIPPED / demo.FILM), pace="fast") as agent:
        await agent.until(1.0)
        print(bool((await agent.answer("what do you see now?")).text))
asyncio.run(run())
"""
    assert printed(program) == "True"
