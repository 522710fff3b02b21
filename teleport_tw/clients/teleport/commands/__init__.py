"""
The commands of C{teleport}, a verb a file.
"""
