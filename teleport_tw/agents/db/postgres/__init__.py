"""
PostgreSQL and CockroachDB, served to users.
"""
