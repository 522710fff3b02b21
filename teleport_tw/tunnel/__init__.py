"""
Agent to proxy: many streams over few links that the agent dials.
"""
