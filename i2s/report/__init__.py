"""The report: one page to look at, listen to and read, opened from disk."""
