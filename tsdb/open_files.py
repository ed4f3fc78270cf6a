"""How many files this process may have open, and how many of them the storage keeps open."""

import resource

_SHARE = 8
"""Half of the files are for connections; logs and blocks share what remains with all else."""


def open_files_limit() -> int:
    """How many files the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def kept_open(most: int) -> int:
    """How many files of one kind are kept open because they will be used again, up to *most*."""
    return max(2, min(most, open_files_limit() // _SHARE))
