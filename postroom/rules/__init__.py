"""The rules: read from files, compiled once, then asked about each message. Pure, but for reading the files."""

from postroom.rules.actions import RenderError
from postroom.rules.loader import Rule, read_files
from postroom.rules.ruleset import EMPTY, RuleSet, compile_rules

__all__ = ["EMPTY", "RenderError", "Rule", "RuleSet", "compile_rules", "read_files"]
