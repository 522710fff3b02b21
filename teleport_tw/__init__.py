"""
Access to servers, databases, Kubernetes, web apps and desktops on short-lived certificates.

The rooms of this package, lowest layer first, are listed in C{docs/architecture.rst}; a room imports from the
layers below it and leaves its siblings alone, which C{tox -e imports} checks.
"""

__version__ = "0.1.0"
