"""
Walking the log's chain: what was changed, taken out, moved, put in or cut off.
"""

from __future__ import annotations

import base64
import hashlib
from binascii import Error as Base64Error
from pathlib import Path

from attrs import define, field
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from teleport_tw.api.contract import Verification
from teleport_tw.audit import truncation
from teleport_tw.audit.ledger import START, ChainFile, files_of, signed_text

MAX_PROBLEMS = 1000
"""Past this many, the rest is counted only."""


@define
class _Walk:
    key: Ed25519PublicKey
    checked: int = 0
    chain: bytes = START
    problems: list[str] = field(factory=list)
    more: int = 0

    def say(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more += 1

    def begin(self, said: truncation.Truncation | None, is_there: bool) -> None:
        """
        Where older days were deleted for their age, the rest stands on the signed word that says so.
        """
        if said is not None and said.holds(self.key):
            self.checked, self.chain = said.count, bytes.fromhex(said.chain)
        elif is_there:
            self.say("the truncation, by which the log's oldest days were deleted, was not signed by this cluster")

    def file(self, path: Path) -> None:
        chain = ChainFile.read(path.with_suffix(".chain"))
        if chain is None:
            self.say(f"{path.name}: its chain file is missing or has no beginning")
            return
        if (chain.start_count, chain.start) != (self.checked, self.chain):
            self.say(f"{path.name}: does not continue what came before it: events or whole files are missing")
            self.checked, self.chain = chain.start_count, chain.start
        for number in chain.bad:
            self.say(f"{path.with_suffix('.chain').name} line {number}: not a digest or checkpoint")
        self.lines(path, chain)
        self.links(path, chain)

    def lines(self, path: Path, chain: ChainFile) -> None:
        with open(path, "rb") as source:
            found = [hashlib.sha256(line).hexdigest() for line in source]
        wanted = chain.digests
        if found == list(wanted):
            return
        where = {digest: number for number, digest in enumerate(wanted)}
        there = set(found)
        last = -1
        for number, digest in enumerate(found, 1):
            home = where.get(digest)
            if home is None:
                lost = number <= len(wanted) and wanted[number - 1] not in there
                self.say(f"{path.name} line {number}: was {'changed' if lost else 'put in'}")
            elif home < last:
                self.say(f"{path.name} line {number}: was moved, its place is line {home + 1}")
            else:
                last = home
        whole = max((number for number, digest in enumerate(wanted, 1) if digest in there), default=0)
        for number, digest in enumerate(wanted, 1):
            changed = number <= len(found) and found[number - 1] not in where
            if digest not in there and not changed:
                if number > max(whole, len(found)):
                    self.say(f"{path.name}: lines {number} to {len(wanted)} were cut off its end")
                    break
                self.say(f"{path.name} line {number}: was removed")

    def links(self, path: Path, chain: ChainFile) -> None:
        values = {chain.start_count: chain.start}
        signed = {checkpoint.count for checkpoint in chain.checkpoints}
        value, count = chain.start, chain.start_count
        for digest in chain.digests:
            value, count = hashlib.sha256(value + bytes.fromhex(digest)).digest(), count + 1
            if count in signed:
                values[count] = value
        before = chain.start_count
        for checkpoint in chain.checkpoints:
            told = f"{path.name}: the checkpoint after event {checkpoint.count}"
            text = signed_text(checkpoint.count, checkpoint.chain, checkpoint.time)
            try:
                self.key.verify(base64.b64decode(checkpoint.signature), text)
            except (InvalidSignature, Base64Error):
                self.say(f"{told} was not signed by this cluster")
                continue
            if checkpoint.count not in values:
                self.say(f"{told} vouches for events that are not there")
            elif values[checkpoint.count].hex() != checkpoint.chain:
                self.say(f"{told} does not fit: an event after {before} was changed together with its digest")
            before = checkpoint.count
        self.checked, self.chain = count, value


def verify(directory: Path, key: Ed25519PublicKey, indexed: int = 0) -> Verification:
    """
    @param directory: the log's.
    @param key: the public half of what signs checkpoints.
    @param indexed: how many events the search index has seen; the log must not have fewer.
    @return: one sentence for each break; the event after a break is checked again, so that one edit is one sentence.
    """
    walk = _Walk(key)
    walk.begin(truncation.read(directory), (directory / truncation.NAME).exists())
    for path in files_of(directory):
        walk.file(path)
    lone = {path.stem for path in directory.glob("????-??-??.*.chain")} - {path.stem for path in files_of(directory)}
    for stem in sorted(lone):
        walk.say(f"{stem}.log is missing, its chain file is there")
    for path in sorted(directory.glob("*.unchained")):
        walk.say(f"{path.name}: a file without chain was put aside at start")
    if walk.checked < indexed:
        walk.say(f"the search index knows {indexed} events, the log ends after {walk.checked}: its end was cut off")
    if walk.more:
        walk.problems.append(f"and {walk.more} more")
    return Verification(checked=walk.checked, problems=tuple(walk.problems))
