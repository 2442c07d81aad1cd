"""Karpenter NodePools: render, compare, own, guard."""
