"""
Renewing what C{teleport join openssh} set up: what was typed then is kept, without the token, and said again by
C{teleport join openssh --renew}; a systemd timer does so every week, of the month that a certificate lasts.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import asdict, evolve

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.clients.teleport.openssh import Plan, replace, run_program

NAME = "teleport-openssh-renew"
SYSTEMD = Path("/etc/systemd/system")

_SERVICE = """\
[Unit]
Description=Renews sshd's host certificate with its Teleport cluster
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
"""

_TIMER = """\
[Unit]
Description=Every week: {name}.service

[Timer]
OnCalendar=weekly
RandomizedDelaySec=12h
Persistent=true

[Install]
WantedBy=timers.target
"""


def remember(plan: Plan) -> None:
    """
    Keep what was typed beside the certificates.

    @raise TeleportError: BAD_PARAMETER, it cannot be written.
    """
    said = asdict(plan, filter=lambda field, value: field.name not in ("token", "folder"))
    replace(_file(plan.folder), json.dumps({**said, "sshd_config": str(plan.sshd_config)}, indent=2) + "\n", 0o600)


def recall(folder: Path) -> Plan:
    """
    @param folder: as L{Plan} has it.
    @raise TeleportError: BAD_PARAMETER, this host has not joined in this way.
    """
    path = _file(folder)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, Mapping):
            raise ValueError("not an object")
        plan = Plan(**{**said, "token": Secret(""), "folder": folder, "sshd_config": Path(said["sshd_config"])})
    except FileNotFoundError as error:
        raise bad_parameter(
            f"{path} is not there: this host has not joined; say `teleport join openssh` in full"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise bad_parameter(f"{path} cannot be read ({error}); say `teleport join openssh` in full") from error
    return evolve(plan, pins=tuple(plan.pins), names=tuple(plan.names))


def command(data_dir: Path) -> str:
    """
    @return: what renews, as a shell or systemd takes it.
    """
    program = shutil.which("teleport") or str(Path(sys.argv[0]).absolute())
    return shlex.join([program, "join", "openssh", "--renew", f"--data-dir={data_dir.absolute()}"])


def install_timer(data_dir: Path, systemd: Path = SYSTEMD) -> tuple[Path, ...]:
    """
    Write both units, and start the timer where systemd runs.

    @return: the files.
    @raise TeleportError: BAD_PARAMETER, they cannot be written, or systemd does not take them.
    """
    words = command(data_dir)
    units = {"service": _SERVICE.format(command=words.replace("%", "%%")), "timer": _TIMER.format(name=NAME)}
    written = tuple(systemd / f"{NAME}.{kind}" for kind in units)
    for path, text in zip(written, units.values(), strict=True):
        replace(path, text, 0o644)
    if Path("/run/systemd/system").is_dir() and systemd == SYSTEMD:
        run_program(["systemctl", "daemon-reload"], "systemd does not take the new units")
        run_program(["systemctl", "enable", "--now", f"{NAME}.timer"], "the timer does not start")
    return written


def _file(folder: Path) -> Path:
    return folder / "join.json"
