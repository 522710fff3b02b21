"""
The web API, a file per noun. Each tells its routes as data.
"""
