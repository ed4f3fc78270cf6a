"""A fuzz run in a process of its own, which may die of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.loop import Slate

ROOT = Path(__file__).parent.parent.parent
_GRACE_SECONDS = 240.0
"""What compiling, the last input and making a finding smaller may take besides."""
_MAX_DIGITS = 4000


@dataclass(frozen=True, slots=True)
class Run:
    """What one process did; ``failure`` tells what was found, '' where nothing was."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    outcomes: int = 0
    failure: str = ""


def run(name: str, seed: int, seconds: float, *, checked: bool) -> Run:
    """Fuzzes the target *name*; *checked* with kernels that check every index."""
    with tempfile.TemporaryDirectory(prefix="o11y-fuzz-") as directory:
        slate = Path(directory) / "input"
        command = [sys.executable, "-m", "tests.fuzz", name, f"--seed={seed}"]
        command += ["--checked"] * checked
        inside = [*command, f"--seconds={seconds}", f"--slate={slate}"]
        # Hashes of texts must not decide which input comes next.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(
            inside, cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        again = " ".join(["python", *command[1:]])
        if process.returncode == 0:
            return Run(name, **json.loads(out))
        if process.returncode == 1 and out.startswith("{"):
            told = json.loads(out)
            found, error = bytes.fromhex(told["data"]), told["error"]
            again += f" --runs={told['runs']}"
        else:
            found = Slate.read(str(slate)) if slate.exists() else b""
            error = f"{_cause(process.returncode)}\n{err}"
        digits = found.hex()[:_MAX_DIGITS]
        return Run(name, failure=f"{error}\ninput ({len(found)} bytes), as hexadecimal digits:\n"
                   f"{digits}\nseed {seed}; again with: {again}\n")  # fmt: skip


def _cause(code: int) -> str:
    if code < 0:
        return f"the process died of {signal.Signals(-code).name}"
    return f"the process ended with {code}"
