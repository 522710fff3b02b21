"""
The MySQL and MariaDB client/server protocol, both sides, without IO.
"""
