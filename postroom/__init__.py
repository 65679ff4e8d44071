"""Postroom: e-mail comes in, the right work comes out."""

__version__ = "0.1.0"
