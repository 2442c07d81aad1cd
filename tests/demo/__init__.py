"""The operator at work on a real local control plane, in about a minute: `make demo`."""
