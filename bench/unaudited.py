"""
C{twistd} whose database agent tells of no statement, so that L{bench.db} can say what telling costs.
"""

from __future__ import annotations

from typing import Any


def main() -> None:
    """
    In place of C{twistd}, with its arguments.
    """
    from twisted.scripts.twistd import run

    from teleport_tw.agents.db import telling

    untold = telling.Running("", (), None, 0.0)

    def query(self: telling.Telling, *_: Any, **__: Any) -> telling.Running:
        self.queries += 1
        return untold

    telling.Telling.query = query  # type: ignore[method-assign]
    telling.Telling.tell = lambda self, *_, **__: None  # type: ignore[method-assign]
    telling.Telling.result = lambda self, *_, **__: None  # type: ignore[method-assign]
    run()


if __name__ == "__main__":
    main()
