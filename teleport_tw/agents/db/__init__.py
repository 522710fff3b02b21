"""
Databases served to users: what all protocols share here, and a room for each.
"""
