"""
Wire protocols as pure codecs and state machines: bytes and meaning, no IO.
"""
