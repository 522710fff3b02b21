"""
MongoDB's wire protocol: framing, compression, and what a command touches. Documents are read by the C{bson} package.
"""
