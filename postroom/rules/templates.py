"""Templates of rules: read and checked at load, compiled when first rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2 import nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError

from postroom.mail.targets import Markup
from postroom.rules.sandbox import (
    BUDGET,
    COUNTED,
    JOINED,
    LONGEST_OUTPUT,
    MARKUP,
    MOST_ROUNDS,
    SANDBOX,
    as_markup,
    settled,
)
from postroom.rules.template_check import Checker
from postroom.rules.template_names import MarkdownText, Shape


class FillError(Exception):
    """A template cannot be filled in; the text is part of one sentence."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text of a rule with `{{ }}` or `{% %}` in it, checked."""

    source: str

    def render(self, names: Mapping[str, Any], markup: Markup = Markup.PLAIN) -> Any:
        """A text; or, where the source is exactly one `{{ expression }}`, its value as it is.

        For a markup other than plain always a text, in which no value of the mail acts.

        Raises FillError.
        """
        context = {**names, BUDGET: [MOST_ROUNDS], MARKUP: markup}
        try:
            program = _compile(self.source)
            if isinstance(program, TemplateExpression):
                value = settled(program(context))
                keep = markup is Markup.PLAIN and not isinstance(value, MarkdownText)
                return value if keep else as_markup(markup, value)
            return _text(program, context)
        except TemplateError as error:
            raise FillError(error.message or "the template failed") from error
        except RecursionError as error:
            raise FillError("the template is nested too deep") from error
        # Filters raise what Python raises, by what a mail made of their arguments.
        except Exception as error:
            raise FillError(str(error) or type(error).__name__) from error


def is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def check(source: str, names: Mapping[str, Shape], report: Callable[[str], None]) -> Template | None:
    """Reads a template and checks each name in it; None where it is no template at all (reported)."""
    if _PLAIN.fullmatch(source) and all(_is_known(found, names) for found in _PLAIN_NAME.finditer(source)):
        return Template(source)
    try:
        Checker(report).template(_parse(source), names)
    except TemplateSyntaxError as error:
        line = f" (line {error.lineno} of the template)" if "\n" in source.strip() else ""
        report(f"this is no template: {error.message}{line}")
        return None
    except RecursionError:
        report("this is no template: it is nested too deep")
        return None
    return Template(source)


def _is_known(found: re.Match[str], names: Mapping[str, Shape]) -> bool:
    shape = names.get(found[1])
    return shape is not None and (found[2] is None or found[2] in shape.attributes)


@lru_cache(maxsize=1024)
def _parse(source: str) -> nodes.Template:
    """Only to look at: many rules share the text of a template."""
    return SANDBOX.parse(source)


@lru_cache(maxsize=4096)
def _compile(source: str) -> JinjaTemplate | TemplateExpression:
    tree = SANDBOX.parse(source)
    first = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(first, nodes.Output) and len(first.nodes) == 1 and not isinstance(first.nodes[0], nodes.TemplateData):
        result = nodes.Assign(nodes.Name("result", "store"), first.nodes[0], lineno=1)
        alone = nodes.Template([_bounded(result)], lineno=1)
        alone.set_environment(SANDBOX)
        return TemplateExpression(SANDBOX.from_string(alone), undefined_to_none=False)
    return SANDBOX.from_string(_bounded(tree))


def _bounded(node: nodes.Node) -> Any:
    """Puts a count into each loop, and a bound into each `~`."""
    for name, value in list(node.iter_fields()):
        if isinstance(value, nodes.Node):
            setattr(node, name, _bounded(value))
        elif isinstance(value, list):
            setattr(node, name, [_bounded(item) if isinstance(item, nodes.Node) else item for item in value])
    if isinstance(node, nodes.For):
        node.iter = nodes.Filter(node.iter, COUNTED, [], [], None, None, lineno=node.lineno)
        node.iter.set_environment(SANDBOX)
    if isinstance(node, nodes.Concat):
        joined = nodes.Filter(
            nodes.List(node.nodes, lineno=node.lineno), JOINED, [], [], None, None, lineno=node.lineno
        )
        joined.set_environment(SANDBOX)
        return joined
    return node


def _text(program: JinjaTemplate, context: dict[str, Any]) -> str:
    parts: list[str] = []
    length = 0
    for part in program.root_render_func(program.new_context(context)):
        length += len(part)
        if length > LONGEST_OUTPUT:
            raise SecurityError(f"the text gets longer than {LONGEST_OUTPUT:,} characters")
        parts.append(part)
    return "".join(parts)


_PLAIN = re.compile(r"(?:[^{]|\{\{ *[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)? *\}\})*")
_PLAIN_NAME = re.compile(r"\{\{ *([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))? *\}\}")
