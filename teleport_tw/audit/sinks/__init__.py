"""
Where audit events go: files, the store, or auth by api.
"""
