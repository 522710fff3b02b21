"""
The programs people type: tsh, tctl, teleport.
"""
