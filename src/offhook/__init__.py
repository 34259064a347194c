"""Offhook: self-hosted call automation with bidirectional audio streaming."""

__version__ = "0.1.0"
