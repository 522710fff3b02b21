"""
Whole stories, each with C{twistd} started from its plugin and the real programs as clients.
"""
