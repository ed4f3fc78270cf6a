"""Compiling kernels beside a process that compiles them, too: ``python -m server.compiling PID``.

That one takes the files of kernels as it imports them, this one from the last to the first; each
leaves what it has compiled in the cache. It ends when all are compiled, or process PID has ended.
"""

import importlib
import os
import sys

import series.jit
from server.startup import ROOT, kernel_files


def main() -> None:
    lead = int(sys.argv[1])

    def end_alone(name: str) -> None:
        del name
        if os.getppid() != lead:
            raise SystemExit(0)

    series.jit.on_compiled = end_alone
    for file in reversed(kernel_files()):
        importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


if __name__ == "__main__":
    main()
