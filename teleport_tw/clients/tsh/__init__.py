"""
The user's client.
"""
