"""
Tests of L{teleport_tw.conch}.
"""
