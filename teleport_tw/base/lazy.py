"""
Modules that are loaded when something is first asked of them.

Libraries import more than one program uses, and a program that starts for one command spends most of its time there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _Later:
    """
    A meta path finder. C{importlib.abc} has a base class for it, and loads half of the standard library.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_later(*names: str) -> None:
    """
    From now on importing one of these modules does not run it; the first look at one of its attributes does.

    @param names: with their packages. One that is loaded already, or is not installed, is as it would be without.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Later)]
    sys.meta_path.insert(0, _Later(frozenset(names)))
