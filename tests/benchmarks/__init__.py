"""The operator measured from outside, beside a floor that it cannot beat and a peer that it should."""
