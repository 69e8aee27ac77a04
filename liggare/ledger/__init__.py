"""The ledger: read every event, keep it as rows, replay and check everything. Knows no domain."""
