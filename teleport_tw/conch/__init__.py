"""
What we add to Conch: modern algorithms, certificates and a short hot path.
"""
