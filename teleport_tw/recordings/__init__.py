"""
Session captures: recorded beside the relay, uploaded, played back, searched.
"""
