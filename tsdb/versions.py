"""What is said of files that this program is too old, or too new, to read."""

from series.ports import StorageError


class UnsupportedFormat(StorageError):
    """A file was written by another version of the program, or is not ours at all.

    Nothing is changed then: going on would lose what the other version wrote.
    """
