"""Fields and texts as the REST API of Jira takes them: no request is made here.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-post
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from postroom.composition import title_of
from postroom.integration import DeliveryError, Job, Markup
from postroom.mail.targets import escape

SUMMARY, TEXT = 255, 32_767
"""Characters of a summary, and of a description or comment."""
_LABEL = 255
_OURS = ("summary", "description", "project")
_NAMED = {"option": "value", "version": "name", "component": "name", "group": "name", "issuelink": "key"}
_NAMED |= {"priority": "name", "resolution": "name", "securitylevel": "name"}
"""By type of field: the member of an object in which its value stands."""


def issue_fields(
    job: Job,
    *,
    project: str,
    issue_type: str,
    description: Any,
    assignee: Mapping[str, str] | None,
    catalogue: Sequence[Mapping[str, Any]],
    cloud: bool,
    label: str = "",
) -> dict[str, Any]:
    """The member `fields` of the request.

    `catalogue`: the fields that this Jira has, as it lists them. `label`: one to add. Raises DeliveryError for a field
    that is not there.
    """
    given = job.content.fields
    fields: dict[str, Any] = {}
    for name, value in (given.get("fields") or {}).items():
        key, schema = _found(name, catalogue)
        if key not in _OURS:
            fields[key] = _value(value, schema, cloud)
    fields["project"] = _by(project, "key")
    fields["issuetype"] = _by(issue_type, "name")
    fields["summary"] = title_of(job, SUMMARY)
    fields["description"] = description
    labels = [valid_label(each) for each in given.get("labels") or ()] + ([label] if label else [])
    if labels := list(dict.fromkeys(filter(None, labels))):
        fields["labels"] = labels
    if priority := given.get("priority"):
        fields["priority"] = _by(str(priority), "name")
    if assignee:
        fields["assignee"] = dict(assignee)
    for name, key in (("components", "components"), ("fix_versions", "fixVersions"), ("affects_versions", "versions")):
        if names := given.get(name):
            fields[key] = [_by(str(each), "name") for each in names]
    return fields


def comment_body(text: Any, *, internal: bool) -> dict[str, Any]:
    """The request that makes a comment. `internal`: hidden from the customers of Jira Service Management."""
    hidden = {"properties": [{"key": "sd.public.comment", "value": {"internal": True}}]}
    return {"body": text, **(hidden if internal else {})}


def valid_label(text: str) -> str:
    """A text as a label of Jira, which takes no blanks in one."""
    return re.sub(r"\s+", "_", text.strip())[:_LABEL]


def _by(value: str, member: str) -> dict[str, str]:
    """A reference to something by its id, where it is a number, or else by its name or key."""
    return {"id": value} if value.isascii() and value.isdigit() else {member: value}


def _found(name: str, catalogue: Sequence[Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """The id of a field that is given by its id or name, and its schema."""
    wanted = name.strip().casefold()
    found = [each for each in catalogue if wanted == str(each.get("id")).casefold()] or [
        each for each in catalogue if wanted == str(each.get("name")).casefold()
    ]
    if not found and (re.fullmatch(r"customfield_\d+", name) or not catalogue):
        return name, {}
    if len(found) != 1:
        ids = ", ".join(str(each.get("id")) for each in found)
        what = f"several fields '{name}': {ids}; name one of these" if found else f"no field '{name}'"
        raise DeliveryError(f"Jira has {what}", permanent=True)
    schema = found[0].get("schema")
    return str(found[0].get("id")), schema if isinstance(schema, dict) else {}


def _value(value: Any, schema: Mapping[str, Any], cloud: bool) -> Any:
    """A value in the shape that its field takes. Mappings, and lists of them, stay as the rule says."""
    kind = str(schema.get("type"))
    if kind == "array":
        items = {"type": schema.get("items")}
        return [_value(each, items, cloud) for each in (value if isinstance(value, list) else [value])]
    if not isinstance(value, str):
        return value
    if kind == "number":
        try:
            return float(value)
        except ValueError:
            raise DeliveryError(f"fields: '{value[:100]}' is no number", permanent=True) from None
    if kind == "user":
        return {"accountId" if cloud else "name": value}
    if kind in _NAMED:
        return _by(value, _NAMED[kind])
    if str(schema.get("custom")).endswith(":textarea") or schema.get("system") == "environment":
        return written(escape(Markup.MARKDOWN, value), cloud)
    return value


def written(
    markdown: str,
    cloud: bool,
    *,
    marker: str = "",
    images: Mapping[str, str] | None = None,
    limit: int | None = TEXT,
) -> Any:
    """Markdown as Jira takes it: a document on Cloud, wiki markup on Data Center. `marker` becomes its last line."""
    # They cost memory, which only a destination of this kind needs.
    from postroom.markdown import adf, wiki

    limit = limit and limit - len(marker) - 4
    if not cloud:
        return "\n\n".join(filter(None, (wiki.convert(markdown, images=images, limit=limit), marker)))
    document = adf.convert(markdown, limit=limit)
    if marker:
        document["content"].append({"type": "paragraph", "content": [{"type": "text", "text": marker}]})
    return document


def size(text: Any) -> int:
    """Characters of a text that `written` made, as Jira counts them."""
    from postroom.markdown import adf

    return len(text) if isinstance(text, str) else adf.size(text)


def words(text: Any) -> str:
    """All words of a text as Jira gives it back."""
    from postroom.markdown import adf

    return text if isinstance(text, str) else adf.words(text)
