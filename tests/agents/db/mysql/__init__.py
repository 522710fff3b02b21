"""
MySQL and MariaDB in the database agent.
"""
