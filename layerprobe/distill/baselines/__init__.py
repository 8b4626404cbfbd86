"""The methods that feature-only distillation is compared with: they use labels and logits."""
