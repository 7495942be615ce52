"""The model test of edw_stream: see ../README.md."""
