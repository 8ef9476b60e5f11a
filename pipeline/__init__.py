"""The stages of dvc.yaml and what they stand on. Read from dvc.yaml inward: every stage is a module."""
