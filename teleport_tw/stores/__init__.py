"""
Typed repositories over any backend.
"""
