"""
Things that know Python and Twisted, and nothing of the product.
"""
