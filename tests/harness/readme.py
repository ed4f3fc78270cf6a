"""What README.md tells a reader to type, and what it says will come back."""

import re
from dataclasses import dataclass

from tests.harness.servers import ROOT

README = ROOT / "README.md"


@dataclass(frozen=True)
class Command:
    """A command of the section *section* and the *printed* lines below it, which may be none."""

    section: str
    text: str
    printed: str


def sections() -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)\n", README.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(section: str) -> list[str]:
    """The fenced blocks of a section, without their fences."""
    return re.findall(r"^```\w*\n(.*?)^```$", sections()[section], re.MULTILINE | re.DOTALL)


def commands() -> list[Command]:
    """All commands: the lines after a ``$``, and whole blocks of shell that have none."""
    found = []
    for section in sections():
        for block in blocks(section):
            parts = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)
            found += [
                Command(section, text, printed)
                for text, printed in zip(parts[1::2], parts[2::2], strict=True)
            ]
            if len(parts) == 1 and re.match(r"(export|printf|curl) ", block):
                found.append(Command(section, block, ""))
    return found


def command(section: str, begin: str) -> Command:
    """The one command of *section* that begins with *begin*; ValueError where there is not one."""
    found = [one for one in commands() if one.section == section and one.text.startswith(begin)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} commands in {section!r} begin with {begin!r}")
    return found[0]
