"""
The operator's command.
"""
