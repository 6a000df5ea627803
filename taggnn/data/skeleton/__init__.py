"""Skeleton sequences: files, clips and their transforms."""
