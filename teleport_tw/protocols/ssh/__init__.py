"""
SSH wire types and OpenSSH certificates (RFC 4251, PROTOCOL.certkeys).
"""
