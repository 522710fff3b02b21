"""
One statement on several databases: C{tsh db exec}.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from teleport_tw.api.contract import Query
from teleport_tw.base.errors import TeleportError, bad_parameter, not_found
from teleport_tw.clients.output import as_json, harmless
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.native import native
from teleport_tw.clients.tsh.proving import Prover
from teleport_tw.clients.tsh.reach import Reachable, chosen, reachable, session
from teleport_tw.clients.tsh.way import say

MAX_OUTPUT_BYTES = 64 << 20
"""Of one database, shown on standard output; with C{--output-dir} there is no bound."""


@frozen(kw_only=True)
class Outcome:
    """
    @ivar code: what the client ended with; C{None}, it did not begin.
    @ivar error: why not.
    """

    name: str
    output: bytes = b""
    code: int | None = None
    error: str = ""
    file: str = ""

    @property
    def success(self) -> bool:
        """
        Whether the statement ran.
        """
        return self.code == 0


async def execute(context: UserContext, options: argparse.Namespace) -> int:
    """
    @return: 0 when it ran on all of them.
    """
    targets = await _targets(context, options)
    for target in targets:
        native(target.database.protocol)
    if options.confirm and not _agreed(targets, options.statement):
        return 1
    folder = Path(options.output_dir) if options.output_dir else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    semaphore = DeferredSemaphore(options.parallel)
    outcomes: list[Outcome] = []
    prover = Prover(context)

    async def one(target: Reachable) -> None:
        outcome = await _one(context, options, target, folder, prover)
        outcomes.append(outcome)
        _tell(outcome, len(targets) > 1)

    waiting = [semaphore.run(Deferred.fromCoroutine, one(target)) for target in targets]
    await DeferredList(waiting, fireOnOneErrback=True, consumeErrors=True)
    if folder is not None:
        _summarize(folder, outcomes)
    failed = [outcome.name for outcome in outcomes if not outcome.success]
    if failed:
        say(f"ERROR: the statement failed on {', '.join(sorted(failed))}")
    return 1 if failed else 0


async def _targets(context: UserContext, options: argparse.Namespace) -> list[Reachable]:
    names = [name.strip() for name in options.dbs.split(",") if name.strip()]
    if bool(names) == bool(options.labels or options.query or options.search):
        raise bad_parameter("say which databases: --dbs=a,b, or --labels, --query or --search")
    found = await reachable(context, chosen(options) if not names else Query(accessible=True))
    if not names:
        if not found:
            raise not_found("no database fits; tsh db ls shows those you reach")
        return found
    by_name = {each.database.name: each for each in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise not_found(f"not found: {', '.join(missing)}; tsh db ls shows those you reach")
    return [by_name[name] for name in dict.fromkeys(names)]


def _agreed(targets: Sequence[Reachable], statement: str) -> bool:
    names = ", ".join(each.database.name for each in targets)
    sys.stderr.write(f"Run on {len(targets)} databases ({names}):\n\n  {harmless(statement)}\n\nGo on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _one(
    context: UserContext, options: argparse.Namespace, target: Reachable, folder: Path | None, prover: Prover
) -> Outcome:
    name = target.database.name
    try:
        # What is typed for many databases is not what one of them is used with from now on.
        async with session(context, target, options, prover, passing=True) as (login, port, _):
            command = native(target.database.protocol).through(login.route, port, options.statement)
            file = folder / f"{name}.output" if folder is not None else None
            reactor = context.reactor
            code, output = await deferToThreadPool(reactor, reactor.getThreadPool(), _run, command, file)
            return Outcome(name=name, output=output, code=code, file=str(file or ""))
    except TeleportError as error:
        return Outcome(name=name, error=error.message)


def _run(command: Sequence[str], file: Path | None) -> tuple[int, bytes]:
    if file is not None:
        with file.open("wb") as sink:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=False)
        return done.returncode, b""
    with subprocess.Popen(  # what the user asked for
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read(MAX_OUTPUT_BYTES)
        while child.stdout.read(1 << 20):
            pass
    return child.returncode, output


def _tell(outcome: Outcome, several: bool) -> None:
    if outcome.error:
        say(f"ERROR: {outcome.name}: {outcome.error}")
    elif outcome.file:
        print(f"{outcome.name}: {'done' if outcome.success else 'failed'}, see {outcome.file}", flush=True)
    else:
        if several:
            print(f"--- {outcome.name} ---", flush=True)
        sys.stdout.flush()
        sys.stdout.buffer.write(outcome.output)
        sys.stdout.buffer.flush()


def _summarize(folder: Path, outcomes: Sequence[Outcome]) -> None:
    listed = [
        {
            "database": {"name": each.name},
            "success": each.success,
            **({"exit_code": each.code} if each.code is not None else {}),
            **({"error": each.error} if each.error else {}),
            **({"output_file": Path(each.file).name} if each.file else {}),
        }
        for each in sorted(outcomes, key=lambda each: each.name)
    ]
    whole = {
        "databases": listed,
        "total": len(listed),
        "success": sum(each.success for each in outcomes),
        "failure": sum(not each.success for each in outcomes),
    }
    (folder / "summary.json").write_text(as_json(whole), encoding="utf-8")
