"""Graphs with series: reading, generating, storing, splitting and sampling them."""
