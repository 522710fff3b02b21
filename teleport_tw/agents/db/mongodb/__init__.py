"""
MongoDB sessions.
"""
