"""
The one public port: finds out what each connection wants and routes it.
"""
