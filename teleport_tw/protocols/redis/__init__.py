"""
Redis: RESP2 and RESP3, what users ask and what servers answer, read in step.
"""
