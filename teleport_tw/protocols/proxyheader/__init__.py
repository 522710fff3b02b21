"""
Who brought a connection, as a load balancer tells it: HAProxy's PROXY protocol.
"""
