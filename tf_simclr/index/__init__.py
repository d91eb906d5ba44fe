"""Indexes of images: features on disk, one row an image, and what they are good for without a network."""
