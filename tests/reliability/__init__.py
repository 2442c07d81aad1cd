"""Every fault at every request: a proxy before the API server, plans of faults, and what must hold whatever happens."""
