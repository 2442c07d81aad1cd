"""The Helm release of Connect: what it holds, what the profile adds to it, and whether that is in effect."""
