"""Content jobs through the API of Connect: what lost its server, what a restart would cost, what to run again."""
