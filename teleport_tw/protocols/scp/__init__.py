"""
The scp protocol, which rcp left us: lines, files and single bytes.
"""
