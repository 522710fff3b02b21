"""
The administrator's client.
"""
