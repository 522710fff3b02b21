"""
Keys and certificates: what they say, who is trusted, how they are signed.
"""
