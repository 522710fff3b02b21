"""
Key-value drivers behind one small contract.
"""
