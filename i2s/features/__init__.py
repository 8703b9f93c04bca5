"""What the models see of speech and of images: matrices, one row a frame or an image position."""
