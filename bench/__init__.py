"""
Side-by-side measurements: ours and the program a user would pick instead, by turns. Figures to read, never asserted.
"""
