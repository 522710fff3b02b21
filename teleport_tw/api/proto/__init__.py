"""
Protocol buffer schemas and the code generated from them.
"""
