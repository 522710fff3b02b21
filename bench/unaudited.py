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

    from teleport_tw.agents.db import flow

    untold = flow.Running("", (), None, 0.0)

    def query(self: flow.Session, *_: Any, **__: Any) -> flow.Running:
        self.queries += 1
        return untold

    flow.Session.query = query  # type: ignore[method-assign]
    flow.Session.tell = lambda self, *_, **__: None  # type: ignore[method-assign]
    flow.Session.result = lambda self, *_, **__: None  # type: ignore[method-assign, assignment]
    run()


if __name__ == "__main__":
    main()
