"""
Audit facts as types, and the seam they go out by.
"""
