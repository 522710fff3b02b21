"""
Pure decisions: may this identity do this, and why not.
"""
