"""The second process that compiles kernels."""

import os
import subprocess
import sys

from server.startup import ROOT, kernel_count, kernel_files


def test_it_goes_through_all_kernels_and_ends() -> None:
    """Where all are compiled already that takes no longer than to import them."""
    argv = [sys.executable, "-m", "server.compiling", str(os.getpid())]
    assert subprocess.run(argv, cwd=ROOT, timeout=600, check=False).returncode == 0


def test_it_ends_when_the_process_beside_it_has_ended() -> None:
    """Another parent than the one it was told is none of its business."""
    program = (
        "import sys, series.jit, server.compiling, server.startup\n"
        "told = []\n"
        "sys.argv = ['compiling', '1']\n"
        "server.startup.kernel_files = lambda: told\n"
        "try:\n"
        "    server.compiling.main()\n"
        "    series.jit.on_compiled('any')\n"
        "except SystemExit as end:\n"
        "    print('ended', end.code)\n"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=ROOT, timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout == "ended 0\n"


def test_the_files_of_kernels_hold_all_kernels_that_are_counted() -> None:
    """The count is what a start shows its progress by."""
    assert kernel_count() > 100
    assert all(file.name.endswith("kernels.py") for file in kernel_files())
