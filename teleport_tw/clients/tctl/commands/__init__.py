"""
One verb a file.
"""
