"""
Files and environment turned into one frozen section per service.
"""
