"""Liggare: payments at no cost, records under the patient's key, a neighbourhood's energy market,
on one ledger that anyone can check."""

__version__ = "0.1.0"
