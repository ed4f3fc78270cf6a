"""The ``o11y`` of another commit: its tree and its own environment, in a temporary directory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import ROOT


@contextmanager
def installed(commit: str, home: Path) -> Iterator[Path]:
    """The program of *commit*, installed below *home* with its kernels compiled.

    subprocess.CalledProcessError where git does not know *commit* or its packages do not install.
    """
    tree, environment = home / "tree", home / "venv"
    _call("git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(tree), commit)
    try:
        _call(sys.executable, "-m", "venv", str(environment))
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _call(*pip, "--disable-pip-version-check", "--editable", str(tree))
        program = environment / "bin" / "o11y"
        _call(str(program), "warmup")
        yield program
    finally:
        _call("git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree))


def resolved(commit: str) -> str:
    """The short name of *commit*."""
    argv = ["git", "-C", str(ROOT), "rev-parse", "--short", f"{commit}^{{commit}}"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _call(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=sys.stderr)
