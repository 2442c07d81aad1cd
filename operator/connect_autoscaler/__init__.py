"""Keeps Karpenter NodePools and the Posit Connect Helm release in shape."""

__version__ = "0.1.0"
