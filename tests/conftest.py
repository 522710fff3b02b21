"""
Every test runs on the reactor that the programs run on.

C{TELEPORT_TW_TEST_LOOP=asyncio} puts it on asyncio's own loop, as on a machine without uvloop.
"""

import asyncio
import os

from teleport_tw.base.loop import install, new_loop

install(asyncio.new_event_loop if os.environ.get("TELEPORT_TW_TEST_LOOP") == "asyncio" else new_loop)
