"""
MySQL and MariaDB: the server's side to the user, the client's to the target.
"""
