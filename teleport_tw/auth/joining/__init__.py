"""
How hosts become members: a file per method.
"""
