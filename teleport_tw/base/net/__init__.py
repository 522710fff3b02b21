"""
Endpoints and transports of the data path: Twisted's interfaces on libuv's native transports.
"""
