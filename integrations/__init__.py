"""The kinds of destination that come with Postroom: one file each.

docs/writing-an-integration.md shows how to add one.
"""
