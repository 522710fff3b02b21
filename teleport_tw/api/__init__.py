"""
The treaty between the planes: contracts, schemas, the rpc client and the watched local copy.
"""
