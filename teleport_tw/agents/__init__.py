"""
The data plane next to the targets: registers, authorizes again, serves, records.
"""
