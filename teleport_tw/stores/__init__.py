"""
Typed repositories: the nouns of the cluster, and what must be kept beside them, over any backend.
"""
