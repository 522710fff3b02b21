"""
Databases of other projects, started for a test on loopback, with TLS and client certificates required.
"""
