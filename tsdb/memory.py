"""How much memory this process may use."""

import resource
import sys
from pathlib import Path

_CODE_BYTES = 1 << 30
LEAST_ADDRESS_SPACE_BYTES = 1 << 30
"""With less a server has no room for its threads."""


def address_space_bytes() -> int:
    """How much address space this process may have (``ulimit -v``)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def memory_bytes() -> int:
    """The memory this process may use: the machine's, or less where its control group says so.

    Where the address space is limited (``ulimit -v``) the first GiB is for code and threads, and
    half of the rest for what comes and goes.
    """
    total = _meminfo_total()
    address_space = address_space_bytes()
    if address_space < sys.maxsize:
        total = min(total, max(address_space - _CODE_BYTES, address_space // 4) // 2)
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _meminfo_total() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 << 30
