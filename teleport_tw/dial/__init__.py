"""
Client to target, by way of the proxy.
"""
