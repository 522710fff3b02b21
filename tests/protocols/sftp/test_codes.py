"""
Numbers of SFTP, as the draft lists them.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.protocols.sftp import codes


class CodesTests(SynchronousTestCase):
    """
    draft-ietf-secsh-filexfer-02, sections 3 and 7.
    """

    def test_numbers(self) -> None:
        """
        The last of each row, which counting wrong would move.
        """
        self.assertEqual((codes.INIT, codes.FSETSTAT, codes.OPENDIR, codes.SYMLINK), (1, 10, 11, 20))
        self.assertEqual((codes.STATUS, codes.ATTRS, codes.EXTENDED, codes.EXTENDED_REPLY), (101, 105, 200, 201))
        self.assertEqual((codes.OK, codes.BAD_MESSAGE, codes.OP_UNSUPPORTED), (0, 5, 8))

    def test_extensions_have_names_of_their_own(self) -> None:
        """
        None twice.
        """
        names = [name for name, _ in codes.EXTENSIONS]
        self.assertEqual(len(names), len(set(names)))
