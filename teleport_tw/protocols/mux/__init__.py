"""
Yamux: many flow-controlled streams over one ordered byte pipe.
"""
