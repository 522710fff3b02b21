"""
Key-value drivers: where the state of the cluster is kept, behind one small contract.
"""
