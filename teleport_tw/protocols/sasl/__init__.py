"""
SASL mechanisms that databases use, without IO.
"""
