"""
Serves shells, commands and files of this machine to SSH clients.
"""
