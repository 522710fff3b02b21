"""
Redis: users' commands judged, told of and passed on, replies brought back in their turn.
"""
