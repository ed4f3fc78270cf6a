"""What a loss of power may leave of a disk: a recorder of acts, and a maker of such states.

The rules are those of POSIX, at their worst. Bytes that were written and not synced are there or
not, sector by sector, in any order; the length of a file may have grown before its bytes came.
Names that were made, renamed or removed are there or not, in any choice, until their directory
was synced; a rename is one change. What was synced stays.
"""

import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tsdb.files import Files

_SECTORS = (512, 4096)


class Act(NamedTuple):
    """One change of the disk. ``inode`` names a file for its whole life, 0 where none is meant."""

    kind: str
    path: Path = Path()
    inode: int = 0
    data: bytes = b""
    number: int = 0
    other: Path = Path()


class Recorder(Files):
    """The disk below *root*, every change of which is noted in ``acts`` once it is done."""

    def __init__(self, root: Path) -> None:
        self.acts: list[Act] = []
        self._root = root
        self._lock = threading.Lock()
        self._inode_of_fd: dict[int, int] = {}
        self._inode_of_number: dict[int, int] = {}
        self._position: dict[int, int] = {}
        self._inodes = 0

    def _note(self, act: Act) -> None:
        with self._lock:
            self.acts.append(act)

    def create(self, path: Path) -> int:
        fd = super().create(path)
        with self._lock:
            self._inodes += 1
            self._inode_of_fd[fd] = self._inodes
            self._inode_of_number[os.fstat(fd).st_ino] = self._inodes
            self._position[fd] = 0
            self.acts.append(Act("create", path, self._inodes))
        return fd

    def open(self, path: Path) -> int:
        fd = super().open(path)
        with self._lock:
            self._inode_of_fd[fd] = self._inode_of_number[os.fstat(fd).st_ino]
        return fd

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        whole = b"".join(parts)
        at = self._position[fd]
        super().write(fd, [whole])
        self._position[fd] += len(whole)
        self._note(Act("write", inode=self._inode_of_fd[fd], data=whole, number=at))

    def write_zeros(self, fd: int, offset: int, size_bytes: int) -> None:
        super().write_zeros(fd, offset, size_bytes)
        self._note(Act("write", inode=self._inode_of_fd[fd], data=bytes(size_bytes), number=offset))

    def fdatasync(self, fd: int) -> None:
        self._note(Act("fdatasync", inode=self._inode_of_fd[fd]))

    def truncate(self, path: Path, size_bytes: int) -> None:
        super().truncate(path, size_bytes)
        self._note(Act("truncate", path, number=size_bytes))

    def sync_directory(self, path: Path) -> None:
        self._note(Act("sync_directory", path))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._note(Act("rename", old, other=new))

    def link(self, old: Path, new: Path) -> None:
        super().link(old, new)
        self._note(Act("link", old, other=new))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._note(Act("unlink", path))

    def remove_tree(self, path: Path) -> None:
        if path.exists():
            super().remove_tree(path)
            self._note(Act("remove_tree", path))

    def mkdir(self, path: Path) -> None:
        if path.is_dir():
            return
        self.mkdir(path.parent)
        path.mkdir()
        self._note(Act("mkdir", path))
        self.sync_directory(path.parent)


@dataclass(eq=False)
class _File:
    """A file: the bytes that are safe, and changes of them that are not."""

    safe: bytes = b""
    waiting: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def now(self) -> bytes:
        return _applied(self.safe, self.waiting)

    def sync(self) -> None:
        self.safe, self.waiting = self.now, []

    def left(self, chance: random.Random) -> bytes:
        """The bytes that may be found after the loss."""
        kind = chance.randrange(4)
        if kind == 0 or not self.waiting:
            return self.safe
        if kind == 1:
            return self.now
        sector = chance.choice(_SECTORS)
        pieces = [piece for one in self.waiting for piece in _sectors(*one, sector)]
        kept = [piece for piece in pieces if chance.random() < 0.5]
        found = _applied(self.safe, kept)
        if kind == 2 and len(found) < len(self.now):
            found += bytes(len(self.now) - len(found))
        return found


@dataclass(eq=False)
class _Directory:
    """A directory: the names that are safe, and changes of them that are not."""

    safe: "dict[str, _Node]" = field(default_factory=dict)
    waiting: "list[dict[str, _Node | None]]" = field(default_factory=list)
    now: "dict[str, _Node]" = field(default_factory=dict)

    def change(self, names: "dict[str, _Node | None]") -> None:
        """One change of some names at once; None removes."""
        self.waiting.append(names)
        _rename(self.now, names)

    def sync(self) -> None:
        self.safe, self.waiting = dict(self.now), []

    def left(self, chance: random.Random) -> "dict[str, _Node]":
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        found = dict(self.safe)
        for names in self.waiting:
            if chance.random() < share:
                _rename(found, names)
        return found


_Node = _File | _Directory


class Disk:
    """What is known of the disk below *root* after some acts."""

    def __init__(self, root: Path) -> None:
        self._path = root
        self._root = _Directory()
        self._files: dict[int, _File] = {}

    def do(self, act: Act) -> None:
        """Takes one more act into account."""
        if act.kind in ("write", "fdatasync"):
            file = self._files[act.inode]
            if act.kind == "write":
                file.waiting.append((act.number, act.data))
            else:
                file.sync()
            return
        if act.kind == "sync_directory":
            found = self._find(act.path)
            if isinstance(found, _Directory):
                found.sync()
            return
        parent = self._find(act.path.parent)
        assert isinstance(parent, _Directory)
        name = act.path.name
        if act.kind == "create":
            self._files[act.inode] = _File()
            parent.change({name: self._files[act.inode]})
        elif act.kind == "mkdir":
            parent.change({name: _Directory()})
        elif act.kind == "truncate":
            file_there = parent.now[name]
            assert isinstance(file_there, _File)
            file_there.waiting.append((act.number, b""))
        elif act.kind == "rename":
            assert act.other.parent == act.path.parent
            parent.change({name: None, act.other.name: parent.now[name]})
        elif act.kind == "link":
            other = self._find(act.other.parent)
            assert isinstance(other, _Directory)
            other.change({act.other.name: parent.now[name]})
        elif act.kind == "unlink":
            parent.change({name: None})
        elif act.kind == "remove_tree":
            _empty(parent.now[name])
            parent.change({name: None})
        else:
            raise AssertionError(act.kind)

    def leave(self, target: Path, chance: random.Random) -> None:
        """Makes below *target* what the loss of power may have left."""
        _make(self._root, target, chance)

    def _find(self, path: Path) -> "_Node | None":
        node: _Node | None = self._root
        for name in path.relative_to(self._path).parts:
            node = node.now.get(name) if isinstance(node, _Directory) else None
        return node


def _make(node: _Node, path: Path, chance: random.Random) -> None:
    if isinstance(node, _File):
        path.write_bytes(node.left(chance))
        return
    path.mkdir()
    for name, child in node.left(chance).items():
        _make(child, path / name, chance)


def _empty(node: _Node) -> None:
    """Removes all names below *node*, each a change of its own."""
    if isinstance(node, _Directory):
        for name, child in list(node.now.items()):
            _empty(child)
            node.change({name: None})


def _rename(found: "dict[str, _Node]", names: "dict[str, _Node | None]") -> None:
    for name, node in names.items():
        if node is None:
            found.pop(name, None)
        else:
            found[name] = node


def _applied(content: bytes, changes: Sequence[tuple[int, bytes]]) -> bytes:
    """*content* after writes at offsets; one without bytes cuts the file off there."""
    found = bytearray(content)
    for at, data in changes:
        if not data:
            del found[at:]
            continue
        if at > len(found):
            found += bytes(at - len(found))
        found[at : at + len(data)] = data
    return bytes(found)


def _sectors(at: int, data: bytes, size: int) -> list[tuple[int, bytes]]:
    """A write cut where sectors of the disk end."""
    pieces = []
    while data:
        end = (at // size + 1) * size - at
        pieces.append((at, data[:end]))
        at, data = at + min(end, len(data)), data[end:]
    return pieces or [(at, b"")]
