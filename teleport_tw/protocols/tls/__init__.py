"""
The little of TLS that must be read before a connection can be handed on.
"""
