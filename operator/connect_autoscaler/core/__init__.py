"""One way through: gather, plan, act, report."""
