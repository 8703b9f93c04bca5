"""i2s: describe an image in speech, with no text in between."""
