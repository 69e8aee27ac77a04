"""Payments: money that moves at no cost to those who pay and are paid."""
