"""
The one place that knows every room: builds services out of configuration for twistd.
"""
