"""
What is kept of statements and their parameters.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

MAX_QUERY = 32 << 10
"""Characters of a statement in an audit event; the database gets all of it."""
MAX_PARAMETER = 4 << 10
MAX_PARAMETERS = 200
MASK = "***"


class Keeping(Enum):
    """
    C{db_service.record_parameters}.
    """

    FULL = "full"
    MASKED = "masked"
    OFF = "off"


@frozen
class Policy:
    """
    @ivar parameters: what is kept of parameters.
    @ivar audit: false only for the benchmark that measures what auditing costs.
    """

    parameters: Keeping = Keeping.FULL
    audit: bool = True

    def kept(self, parameters: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """
        @return: what may be stored of them.
        """
        match self.parameters:
            case Keeping.OFF:
                return ()
            case Keeping.MASKED:
                return (MASK,) * min(len(parameters), MAX_PARAMETERS)
        cut = parameters[:MAX_PARAMETERS]
        if len(parameters) > MAX_PARAMETERS:
            cut += (f"… [{len(parameters)} parameters in all]",)
        return tuple(
            f"{each[:MAX_PARAMETER]}… [{len(each)} characters]"
            if each is not None and len(each) > MAX_PARAMETER
            else each
            for each in cut
        )
