"""Frames to label maps: networks that say each pixel's class, and the training of a small one."""
