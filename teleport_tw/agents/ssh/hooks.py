"""
What a L{teleport_tw.agents.ssh.party.Party} asks of the program at its terminal.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from teleport_tw.agents.ssh.pty import Size


@frozen
class Hooks:
    """
    What a party asks of the program at the terminal.

    @ivar begin: start it; everybody required is there.
    @ivar typed: bytes for it.
    @ivar resized: the terminal's size.
    @ivar seen: bytes that belong into the recording beside its output.
    @ivar joined: somebody takes part, by name; for the recording.
    @ivar terminate: hang up.
    """

    begin: Callable[[], object]
    typed: Callable[[bytes], object]
    resized: Callable[[Size], object]
    seen: Callable[[bytes], object]
    joined: Callable[[str], object]
    terminate: Callable[[], object]
