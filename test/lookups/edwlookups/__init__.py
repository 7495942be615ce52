"""The test of lookups: see ../run."""
