"""
C{python -m bench NAME [--quick] [--json FILE]}.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

import bench
from bench.harness import as_json, table

NOT_BENCHMARKS = {"__main__", "browsers", "chromium", "chains", "databases", "harness", "parts", "unaudited"}


def main() -> None:
    """
    Run one benchmark, print its table.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in NOT_BENCHMARKS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures say little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    rows = importlib.import_module(f"bench.{options.name}").run(options.quick)
    print(table(rows), end="")
    if options.json is not None:
        options.json.write_text(as_json(rows) + "\n")


if __name__ == "__main__":
    main()
