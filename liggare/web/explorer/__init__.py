"""The explorer: the ledger as pages for everybody, in English and Swedish, to be checked in the reader's browser."""
