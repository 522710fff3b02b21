"""
The nouns of a cluster: what an administrator creates, lists and edits.
"""
