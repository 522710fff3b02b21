"""
Build the documentation: API pages by pydoctor; prose, the references of commands and endpoints, and manual pages by
docutils; warnings are errors in all of them.

Run as C{python docs/build.py OUTPUT}, mostly through C{tox -e docs}.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docutils.core import publish_file
from docutils.utils import SystemMessage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs import commands, endpoints  # noqa: E402  # as they are found from here only


def prose(output: Path) -> int:
    """
    @return: how many pages did not build; each is named on standard error.
    @raise SystemMessage: a manual page does not build.
    """
    broken = 0
    made = [*commands.write(output), *endpoints.write(output)]
    written = sorted([*ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst")])
    pages = {page: output / page.relative_to(ROOT).with_suffix(".html") for page in written}
    pages |= {page: page.with_suffix(".html") for page in made}
    for page, target in pages.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            publish_file(
                source_path=str(page),
                destination_path=str(target),
                writer="html5",
                settings_overrides={"halt_level": 2, "report_level": 2, "embed_stylesheet": True},
            )
        except SystemMessage as problem:
            print(f"{page}: {problem}", file=sys.stderr)
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
