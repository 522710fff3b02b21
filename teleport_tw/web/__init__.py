"""
Pages and JSON endpoints of the proxy.
"""
