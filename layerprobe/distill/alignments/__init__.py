"""How feature-only distillation brings student and teacher features together, one file each.

All see features and nothing else, but for the forms in ``by_class.py``, whose targets the labels shape.
"""
