"""Tests against real servers. A package, so that a file here may be named as one of the tests beside it."""
