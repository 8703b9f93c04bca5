"""Scores: captions, word error, units, their floors, ceilings and intervals."""
