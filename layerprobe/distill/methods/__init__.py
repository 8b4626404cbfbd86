"""What uses labels and logits: the methods that feature-only is compared with, and the forms of it that do."""
