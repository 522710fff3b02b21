"""
The control plane: certificate authority, sign-in, joining, resources, audit intake.
"""
