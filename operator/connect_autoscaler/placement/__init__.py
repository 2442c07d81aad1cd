"""Whether the protection holds: the vendor page's checks and limitations, over pods, nodes and NodeClaims."""
