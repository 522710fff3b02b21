"""
The MySQL protocol.
"""
