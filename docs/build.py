"""
Build the documentation: API pages by pydoctor, prose by docutils, warnings as errors in both.

Run as C{python docs/build.py OUTPUT}, mostly through C{tox -e docs}.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docutils.core import publish_file
from docutils.utils import SystemMessage

ROOT = Path(__file__).resolve().parent.parent


def prose(output: Path) -> int:
    """
    @return: how many pages did not build; each is named on standard error.
    """
    broken = 0
    pages = sorted([*ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst")])
    for page in pages:
        target = output / page.relative_to(ROOT).with_suffix(".html")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            publish_file(
                source_path=str(page),
                destination_path=str(target),
                writer="html5",
                settings_overrides={"halt_level": 2, "report_level": 2, "embed_stylesheet": True},
            )
        except SystemMessage as problem:
            print(f"{page.relative_to(ROOT)}: {problem}", file=sys.stderr)
            broken += 1
    print(f"{len(pages) - broken} of {len(pages)} pages built")
    return broken


def api(output: Path) -> int:
    """
    @return: pydoctor's exit code.
    """
    return subprocess.call(
        [
            sys.executable,
            "-m",
            "pydoctor",
            "--quiet",
            "--docformat=epytext",
            "--project-name=teleport_tw",
            f"--project-base-dir={ROOT}",
            f"--html-output={output / 'api'}",
            "--privacy=HIDDEN:**.*_pb2",
            "--privacy=HIDDEN:**.*_pb2_grpc",
            "--warnings-as-errors",
            str(ROOT / "teleport_tw"),
        ],
        cwd=ROOT,
    )


if __name__ == "__main__":
    destination = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "docs")
    sys.exit(bool(prose(destination)) or api(destination))
