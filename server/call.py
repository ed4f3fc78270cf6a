"""Call: one admitted request, as a handler gets it."""

from concurrent.futures import Executor
from dataclasses import dataclass

from server.access.auth import Principal
from server.house import House
from server.http import Request

CALL = "o11y.call"
"""Where an ASGI scope carries the admitted Call on its way through FastAPI."""


@dataclass(slots=True)
class Call:
    """Who asks what of whom. Not to be changed once made."""

    request: Request
    principal: Principal
    house: House

    @property
    def writes(self) -> Executor:
        """The threads that decode bodies, as the asker's organization uses them."""
        return self.house.writes.of(self.principal.tenant)

    @property
    def queries(self) -> Executor:
        """The threads that answer queries, as the asker's organization may use them."""
        return self.house.queries.of(self.principal.tenant)
