"""What the process lets go of when its kernels are loaded."""

import subprocess
import sys

PROGRAM = """
import numba
from server.process_memory import let_go_of_compiler

def resident_kib():
    total, counts = 0, False
    for line in open("/proc/self/smaps"):
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            counts = "libllvmlite" in line and " r-xp " in line
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total

add = numba.njit("i8(i8, i8)")(lambda a, b: a + b)
before = resident_kib()
let_go_of_compiler()
after = resident_kib()
subtract = numba.njit("i8(i8, i8)")(lambda a, b: a - b)
print(before, after, add(1, 2), subtract(3, 1))
"""


def test_the_compilers_code_leaves_memory_and_comes_back_when_it_is_called() -> None:
    """Most of it is gone, what was compiled still runs, and one can compile again."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    before, after, added, subtracted = map(int, done.stdout.split())
    assert before > 10_000
    assert after < before // 4
    assert (added, subtracted) == (3, 2)
