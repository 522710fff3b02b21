"""
grpcio made to speak Deferred, and identities out of its peers.
"""
