"""Losses between two feature tensors, one file each.

The promise is in the signature: ``loss(student, teacher) -> scalar``. A feature loss can't receive labels or logits.
"""
