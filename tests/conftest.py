"""
Every test runs on the reactor that the programs run on.
"""

from teleport_tw.base.loop import install

install()
