"""DNS lookups of one record type, as service discovery needs them (RFC 1035, RFC 2782).

Messages are built and read here; the servers are those of ``/etc/resolv.conf``, asked over UDP and,
where an answer is cut off, over TCP.
"""

import asyncio
import secrets
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

TYPES = {"A": 1, "NS": 2, "MX": 15, "AAAA": 28, "SRV": 33}
TIMEOUT_SECONDS = 5.0
RESOLV_CONF = Path("/etc/resolv.conf")

_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_IN, _RECURSE, _TRUNCATED = 1, 0x0100, 0x0200
_NO_SUCH_NAME = 3
_MAX_POINTERS = 64


class DnsError(Exception):
    """A name could not be looked up; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One answer: an address or a host name without its last dot; *port* of SRV, else 0."""

    host: str
    port: int = 0


Lookup = Callable[[str, str], Awaitable[list[Record]]]
"""(name, record type) -> its records, none where the name does not exist; DnsError else."""


async def lookup(name: str, record_type: str) -> list[Record]:
    """The records of *name*, from the first server that answers; a ``Lookup``."""
    problems = []
    for server in _servers():
        query_id = secrets.randbelow(1 << 16)
        query = build_query(query_id, name, record_type)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await _ask_udp(server, query)
                if len(answer) > 3 and struct.unpack_from(">H", answer, 2)[0] & _TRUNCATED:
                    answer = await _ask_tcp(server, query)
            return parse_answer(answer, query_id, record_type)
        except (OSError, TimeoutError, EOFError, DnsError) as error:
            problems.append(f"{server}: {error or type(error).__name__}")
    raise DnsError(f"could not resolve {name!r}: {'; '.join(problems) or 'no name server'}")


def build_query(query_id: int, name: str, record_type: str) -> bytes:
    """The message that asks for *name*; DnsError where it is no domain name."""
    question = bytearray()
    for label in name.rstrip(".").split("."):
        try:
            encoded = label.encode("ascii") if label.isascii() else label.encode("idna")
        except UnicodeError:
            raise DnsError(f"{name!r} is not a domain name") from None
        if not 0 < len(encoded) < 64:
            raise DnsError(f"{name!r} is not a domain name")
        question += bytes((len(encoded),)) + encoded
    question += b"\0" + struct.pack(">HH", TYPES[record_type], _IN)
    return _HEADER.pack(query_id, _RECURSE, 1, 0, 0, 0) + bytes(question)


def parse_answer(message: bytes, query_id: int, record_type: str) -> list[Record]:
    """The records of *record_type* in an answer; DnsError where it is none."""
    try:
        got_id, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
        code = flags & 15
        if got_id != query_id or not flags & 0x8000:
            raise DnsError("the answer belongs to another question")
        if code == _NO_SUCH_NAME:
            return []
        if code:
            raise DnsError(f"the server answered with code {code}")
        at = _HEADER.size
        for _ in range(questions):
            at = _name(message, at)[1] + 4
        records = []
        for _ in range(answers):
            at = _name(message, at)[1]
            kind, _, _, size = _RECORD.unpack_from(message, at)
            at += _RECORD.size
            if kind == TYPES[record_type]:
                records.append(_record(message, at, size, record_type))
            at += size
        return records
    except (struct.error, IndexError, ValueError):
        raise DnsError("malformed answer") from None


def _record(message: bytes, at: int, size: int, record_type: str) -> Record:
    if record_type == "A":
        return Record(str(IPv4Address(message[at : at + size])))
    if record_type == "AAAA":
        return Record(str(IPv6Address(message[at : at + size])))
    if record_type == "SRV":
        port = struct.unpack_from(">H", message, at + 4)[0]
        return Record(_name(message, at + 6)[0], port)
    return Record(_name(message, at + (2 if record_type == "MX" else 0))[0])


def _name(message: bytes, at: int) -> tuple[str, int]:
    """(name, position behind it) of the possibly compressed name at *at*."""
    labels: list[str] = []
    end = -1
    for _ in range(_MAX_POINTERS + 128):
        length = message[at]
        if length >= 0xC0:
            end = at + 2 if end < 0 else end
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        else:
            return ".".join(labels), at + 1 if end < 0 else end
    raise ValueError("a name without end")


def _servers() -> list[str]:
    """The name servers of this machine."""
    try:
        lines = RESOLV_CONF.read_text().splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"] or ["127.0.0.1"]


class _Datagram(asyncio.DatagramProtocol):
    """Resolves ``answer`` by the first datagram that comes."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: object) -> None:
        del address
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def _ask_udp(server: str, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Datagram, remote_addr=(server, 53))
    try:
        transport.sendto(query)
        return await protocol.answer
    finally:
        transport.close()


async def _ask_tcp(server: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        size = struct.unpack(">H", await reader.readexactly(2))[0]
        return await reader.readexactly(size)
    finally:
        writer.close()
