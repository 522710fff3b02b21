"""
SFTP, version 3: what OpenSSH speaks, as bytes and meaning. The standard library is all it needs.
"""
