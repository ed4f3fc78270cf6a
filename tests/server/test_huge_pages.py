"""What the process puts together of its memory."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import mmap
from server.huge_pages import HUGE_BYTES, HugePages

def mapped():
    return mmap.mmap(-1, 4 * HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

def huge_kib(start):
    here = False
    for line in open("/proc/self/smaps"):
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            low, high = (int(bound, 16) for bound in line.split()[0].split("-"))
            here = low <= start < high
        elif here and line.startswith("AnonHugePages:"):
            return int(line.split()[1])

def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))

probe = mapped()
probe[:] = bytes(len(probe))
try:
    probe.madvise(25)  # MADV_COLLAPSE
except OSError as error:
    print("cannot", error.errno)
    raise SystemExit from None
probe.close()

full, gap, sparse = mapped(), mapped(), mapped()
full[:] = bytes(range(256)) * (len(full) // 256)
gap.close()  # Else the system might make one area of the other two.
for at in range(0, len(sparse), 8 * mmap.PAGESIZE):
    sparse[at] = 7
pages = HugePages()
pages.collapse()
print(huge_kib(address(full)), pages.size_bytes)
pages.collapse()
print(huge_kib(address(full)), huge_kib(address(sparse)), pages.size_bytes)
pages.collapse()
print(pages.size_bytes)
assert full[:] == bytes(range(256)) * (len(full) // 256)
assert all(sparse[at] == 7 for at in range(0, len(sparse), 8 * mmap.PAGESIZE))
"""


def test_lasting_memory_becomes_huge_and_new_or_sparse_memory_stays_as_it_is() -> None:
    """What was written is still there, a third look finds the same, nothing else grows."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    if "cannot" in done.stdout:
        pytest.skip(f"this system does not put pages together: {done.stdout}")
    new_kib, new_bytes, full_kib, sparse_kib, second, third = map(int, done.stdout.split())
    assert new_kib == new_bytes == sparse_kib == 0
    assert full_kib >= 3 * 2048
    assert third >= second >= full_kib * 1024
