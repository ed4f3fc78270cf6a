"""``python -m tests.lezer``: asks lezer-promql anew, and writes its verdicts beside this file.

Needs node and npm; the package is installed in a directory that goes away.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from tests.lezer.expressions import make_expressions
from tests.lezer.verdicts import FILE, PACKAGE, Verdicts, write_verdicts

SEED = 20260822
RIGHT, MISTAKES = 1000, 1800


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lezer", description=__doc__)
    parser.add_argument("--version", default="latest", help="of the package")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    texts = make_expressions(options.seed, RIGHT, MISTAKES)
    with tempfile.TemporaryDirectory() as home:
        version = _install(Path(home), options.version)
        errors = _ask(Path(home), texts)
    told = Verdicts(version, options.seed, MISTAKES, dict(zip(texts, errors, strict=True)))
    write_verdicts(FILE, told)
    print(f"{PACKAGE} {version}: {len(texts)} expressions, {told.refused} with an error")


def _install(home: Path, version: str) -> str:
    """Puts the package below *home*; which version it is."""
    (home / "package.json").write_text("{}")
    argv = ["npm", "install", "--no-audit", "--no-fund", f"{PACKAGE}@{version}"]
    subprocess.run(argv, cwd=home, check=True, capture_output=True, timeout=300)
    about = json.loads((home / "node_modules" / PACKAGE / "package.json").read_text())
    return str(about["version"])


def _ask(home: Path, texts: list[str]) -> list[int]:
    argv = ["node", str(Path(__file__).with_name("ask.mjs")), str(home)]
    done = subprocess.run(
        argv, input=json.dumps(texts), check=True, capture_output=True, text=True, timeout=300
    )
    return [int(error) for error in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
