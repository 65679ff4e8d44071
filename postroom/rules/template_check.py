"""Reads a template's syntax tree at load: a misspelt name or filter is found then, and not by tonight's mail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature

from jinja2 import nodes

from postroom.problems import did_you_mean, listed
from postroom.rules.sandbox import FILTERS, TESTS
from postroom.rules.template_names import ANY, ATTRIBUTES, LOOP, MEANT, NUMBER, TEXT, Shape

_DEEPEST = 60
_UNKNOWN = Shape("value", {})
"""Of a name that does not exist: nothing more is said of what is done with it."""
_SAME_LIST = frozenset({"sort", "reverse", "unique", "list", "select", "reject", "selectattr", "rejectattr"})
_MEMBER = frozenset({"first", "last", "min", "max"})
_NUMBERS = frozenset({"length", "count", "int", "float", "abs", "round", "wordcount"})
_TEXTS = frozenset(
    [
        "capitalize",
        "escape",
        "filesizeformat",
        "indent",
        "join",
        "lower",
        "replace",
        "string",
        "title",
        "tojson",
        "trim",
        "truncate",
        "upper",
        "urlencode",
    ]
)
_PLAIN = (nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.CondExpr, nodes.Concat, nodes.Compare, nodes.Operand)
_OPERATIONS = (nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod)
_ALLOWED = (*_PLAIN, *_OPERATIONS, nodes.Neg, nodes.Pos, nodes.Slice, nodes.Keyword, nodes.Output, nodes.Template)
_BLOCKS = "a template takes {{ }}, {% if %}, {% for %} and {% set %}"
_WAYS = {
    nodes.Pow: "** is not available in templates",
    nodes.Macro: f"{{% macro %}} is not available: {_BLOCKS}",
    nodes.CallBlock: f"{{% call %}} is not available: {_BLOCKS}",
    nodes.FilterBlock: f"{{% filter %}} is not available: {_BLOCKS}",
    nodes.With: f"{{% with %}} is not available: {_BLOCKS}",
    nodes.Include: f"{{% include %}} is not available: {_BLOCKS}",
    nodes.Import: f"{{% import %}} is not available: {_BLOCKS}",
    nodes.FromImport: f"{{% from %}} is not available: {_BLOCKS}",
    nodes.Extends: f"{{% extends %}} is not available: {_BLOCKS}",
    nodes.Block: f"{{% block %}} is not available: {_BLOCKS}",
    nodes.AssignBlock: f"a {{% set %}} over several lines is not available: {_BLOCKS}",
    nodes.NSRef: "namespace() is not available in templates",
}


@dataclass(slots=True)
class Checker:
    """Calls `report` with one sentence for each problem."""

    report: Callable[[str], None]
    depth: int = 0

    def template(self, tree: nodes.Template, names: Mapping[str, Shape]) -> None:
        """Raises RecursionError where the template is nested so deep that compiling it could fail."""
        self._statements(tree.body, dict(names))

    def _statements(self, body: Iterable[nodes.Node], names: dict[str, Shape]) -> None:
        self._enter()
        for node in body:
            if isinstance(node, nodes.Output):
                for part in node.nodes:
                    self._shape(part, names)
            elif isinstance(node, nodes.Assign):
                self._bind(node.target, self._shape(node.node, names), names)
            elif isinstance(node, nodes.If):
                self._shape(node.test, names)
                self._statements(node.body, names)
                self._statements(node.elif_, names)
                self._statements(node.else_, names)
            elif isinstance(node, nodes.For):
                self._for(node, names)
            else:
                self._refuse(node)
        self.depth -= 1

    def _for(self, node: nodes.For, names: dict[str, Shape]) -> None:
        if node.recursive:
            self.report("a recursive loop is not available in templates")
        items = self._shape(node.iter, names)
        inner = {**names, "loop": LOOP}
        self._bind(node.target, items.item or ANY, inner)
        if node.test is not None:
            self._shape(node.test, inner)
        self._statements(node.body, inner)
        self._statements(node.else_, dict(names))

    def _bind(self, target: nodes.Node, shape: Shape, names: dict[str, Shape]) -> None:
        if isinstance(target, nodes.Name):
            names[target.name] = shape
        elif isinstance(target, nodes.Tuple):
            for item in target.items:
                self._bind(item, ANY, names)
        else:
            self._refuse(target)

    def _shape(self, node: nodes.Node, names: Mapping[str, Shape]) -> Shape:
        """What is known of the value of an expression, every part of which is checked on the way."""
        self._enter()
        shape = self._shape_inside(node, names)
        self.depth -= 1
        return shape

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise RecursionError

    def _shape_inside(self, node: nodes.Node, names: Mapping[str, Shape]) -> Shape:
        if isinstance(node, (nodes.TemplateData, nodes.Const)):
            return TEXT if isinstance(node, nodes.TemplateData) or isinstance(node.value, str) else ANY
        if isinstance(node, nodes.Name):
            return self._name(node, names)
        if isinstance(node, nodes.Getattr):
            shape = self._shape(node.node, names)
            if node.attr in shape.methods and node.attr not in shape.attributes:
                self.report(f"'{node.attr}' is to be called: write {node.attr}()")
                return _UNKNOWN
            return self._attribute(shape, node.attr)
        if isinstance(node, nodes.Getitem):
            return self._item(node, names)
        if isinstance(node, nodes.Call):
            return self._call(node, names)
        if isinstance(node, nodes.Filter):
            return self._filter(node, names)
        if isinstance(node, nodes.Test):
            if node.name not in TESTS:
                self.report(f"unknown test 'is {node.name}'{did_you_mean(node.name, TESTS)}")
        elif not isinstance(node, _ALLOWED):
            self._refuse(node)
        for child in node.iter_child_nodes():
            self._shape(child, names)
        return ANY

    def _name(self, node: nodes.Name, names: Mapping[str, Shape]) -> Shape:
        shape = names.get(node.name)
        if shape is None:
            meant = MEANT.get(node.name)
            hint = f"; did you mean '{meant}'?" if meant in names else did_you_mean(node.name, names)
            self.report(f"unknown name '{node.name}'{hint or f'; there are {listed(names)}'}")
        return shape or _UNKNOWN

    def _attribute(self, shape: Shape, name: str) -> Shape:
        if name in shape.attributes:
            return shape.attributes[name]
        if name in shape.methods or shape is _UNKNOWN:
            return ANY
        if shape.name == "headers":
            self.report(f"a header stands in brackets: write headers['{name}']")
            return TEXT
        if shape.item is not None and name in shape.item.attributes:
            self.report(f"a list has no '{name}', each of its members has: write map(attribute='{name}') | join(', ')")
            return ANY
        known = _ANYWHERE if shape is ANY else (*shape.attributes, *shape.methods)
        if shape is not ANY or name not in known:
            few = f"; it has {listed(known)}" if 0 < len(known) < 10 else ""
            article = "an" if shape.name[0] == "a" else "a"
            self.report(f"{article} {shape.name} has no '{name}'{did_you_mean(name, known) or few}")
        return ANY

    def _item(self, node: nodes.Getitem, names: Mapping[str, Shape]) -> Shape:
        shape = self._shape(node.node, names)
        self._shape(node.arg, names)
        if isinstance(node.arg, nodes.Slice):
            return shape
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) and shape.attributes:
            return self._attribute(shape, node.arg.value)
        return shape.item or (TEXT if shape.name in ("text", "headers") else ANY)

    def _call(self, node: nodes.Call, names: Mapping[str, Shape]) -> Shape:
        if isinstance(node.node, nodes.Getattr):
            owner = self._shape(node.node.node, names)
            self._attribute(owner, node.node.attr)
            if node.node.attr in owner.attributes:
                self.report(f"'{node.node.attr}' of {owner.name} is a value: write it without ()")
        elif isinstance(node.node, nodes.Name):
            self.report(
                f"there is no function '{node.node.name}'; templates have filters, such as {{{{ subject | upper }}}}"
            )
        else:
            self._refuse(node)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.report("* before an argument is not available in templates")
        for child in (*node.args, *node.kwargs):
            self._shape(child, names)
        return ANY

    def _filter(self, node: nodes.Filter, names: Mapping[str, Shape]) -> Shape:
        if node.node is None:
            self._refuse(node)
            return ANY
        shape = self._shape(node.node, names)
        if node.name not in FILTERS:
            self.report(f"unknown filter '{node.name}'{did_you_mean(node.name, FILTERS)}")
        for child in (*node.args, *node.kwargs):
            self._shape(child, names)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.report("* before an argument is not available in templates")
        if node.name in FILTERS and node.dyn_args is None and node.dyn_kwargs is None:
            self._arguments(node)
        self._names_in_arguments(node, shape)
        if node.name in _SAME_LIST:
            return shape
        if node.name in _MEMBER:
            return shape.item or ANY
        return NUMBER if node.name in _NUMBERS else TEXT if node.name in _TEXTS else ANY

    def _arguments(self, node: nodes.Filter) -> None:
        """Finds arguments that the filter does not take, and those that are missing."""
        taken = signature(FILTERS[node.name])
        # Some of Jinja's filters get their environment first.
        given = 1 + len(node.args) + (next(iter(taken.parameters)) in ("environment", "context", "eval_ctx"))
        try:
            taken.bind(*[None] * given, **{str(each.key): None for each in node.kwargs})
        except TypeError as error:
            self.report(f"the filter '{node.name}': {error}")

    def _names_in_arguments(self, node: nodes.Filter, shape: Shape) -> None:
        """`map('upper')`, `map(attribute='name')`, `selectattr('name', 'eq', ..)` name filters and attributes."""
        constants = [argument.value if isinstance(argument, nodes.Const) else None for argument in node.args]
        attribute = next(
            (kw.value.value for kw in node.kwargs if kw.key == "attribute" and isinstance(kw.value, nodes.Const)), None
        )
        test = None
        if node.name == "map" and constants and isinstance(constants[0], str) and constants[0] not in FILTERS:
            self.report(f"unknown filter '{constants[0]}'{did_you_mean(constants[0], FILTERS)}")
        elif node.name in ("select", "reject") and constants:
            test = constants[0]
        elif node.name in ("selectattr", "rejectattr") and constants:
            attribute = constants[0]
            test = constants[1] if len(constants) > 1 else None
        if isinstance(test, str) and test not in TESTS:
            self.report(f"unknown test '{test}'{did_you_mean(test, TESTS)}")
        if isinstance(attribute, str) and shape.item is not None:
            self._attribute(shape.item, attribute.partition(".")[0])

    def _refuse(self, node: nodes.Node) -> None:
        self.report(_WAYS.get(type(node), f"this is not available in templates; {_BLOCKS}"))


_ANYWHERE = tuple(sorted(set().union(*ATTRIBUTES.values(), LOOP.attributes)))
"""Every attribute that anything has."""
