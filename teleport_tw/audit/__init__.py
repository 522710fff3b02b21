"""
Audit events kept in order, verified and searched.
"""
