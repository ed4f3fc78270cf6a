"""Faults done to real servers, and what becomes of the samples that they had acknowledged."""
