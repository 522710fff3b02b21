"""
Tests of L{teleport_tw.daemon}.
"""
