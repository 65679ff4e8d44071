"""What editors say about each word of the rule language. Which of them exist is the loader's to know, not this table's.

A word without its line here has no description in the schema; a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

FILE_KEYS: Final[Mapping[str, str]] = {
    "lists": "Named lists of texts, for the test `in`; each may be used in every file. An entry with * or ? is a glob.",
    "conditions": "Named conditions: usable wherever a condition may stand, in every file.",
    "defaults": "Fields for every action at a destination, or at all of a kind, in all files; the nearest win.",
    "rules": "The rules, in the order in which they are asked.",
    "tests": "Sample mails with what must become of them; the rules are active only while all tests pass.",
}

RULE_KEYS: Final[Mapping[str, str]] = {
    "name": "Required; one line, unique over all files. History refers to it.",
    "description": "A text for people.",
    "tags": "A text or a list of them, for people.",
    "mode": "`live`; `log_only`: matched and recorded, nothing is sent; `disabled`; or a share of the conversations,"
    " such as `10%`.",
    "when": "Required: a condition, or `always`, or `unmatched` (no rule before it planned an action).",
    "extract": "Values taken out of the mail, by name: for the templates of the rule, and fields of its children."
    " A rule whose value is not found, and has no default, does not match.",
    "then": "The actions: destinations with their fields, or built-in ones.",
    "rules": "Child rules, asked after this rule's actions, and only where this rule matched.",
    "first_only": "true: only the first of the child rules that matches acts.",
    "stop": "true: when this rule matched, evaluation ends for this mail after its actions and children,"
    " `unmatched` rules included.",
    "correlate": "Mails with the same key belong to one item, though no header ties them.",
    "limit": "At most so many mails with the same key act in a time.",
    "defaults": "Fields for the actions of this rule and its children; the nearest win.",
}

LOGIC: Final[Mapping[str, str]] = {
    "all": "Every one of the conditions must hold.",
    "any": "At least one of the conditions must hold.",
    "not": "The condition must not hold. It has one entry; for more write not: {any: [..]} or not: {all: [..]}.",
    "header": "Any header, by name: each one named must meet its test. Upper and lower case are the same.",
}

WORDS: Final[Mapping[str, str]] = {
    "always": "Holds for every mail.",
    "unmatched": "Holds where no rule before it planned an action.",
}

FIELDS: Final[Mapping[str, str]] = {
    "recipient": "The address that the mail was really sent to (the SMTP envelope recipient).",
    "return_path": "The SMTP envelope sender; of bounces it is the empty text ''.",
    "from": "The From header.",
    "to": "The addresses of the To header.",
    "cc": "The addresses of the Cc header.",
    "reply_to": "The addresses of the Reply-To header.",
    "addressed": "to, cc and recipient together.",
    "subject": "The decoded subject.",
    "base_subject": "The subject without Re:, Fwd:, AW: and their like.",
    "text": "The plain text (made from the HTML where the mail has none).",
    "html": "The HTML.",
    "reply_text": "The new text alone, without quotes and signature.",
    "kind": "How the mail was classed; it can be several.",
    "attachment": "Some one attachment meets all these tests.",
    "attachment_count": "How many attachments the mail has.",
    "size": "Of the whole mail as received, decoded (1MB = 10^6 bytes).",
    "spam_score": "The provider's score.",
    "item": "The destinations where this conversation has an item.",
    "auth.spf": "The result of SPF by a trusted Authentication-Results header: pass, fail, none, ...",
    "auth.dkim": "The result of DKIM by a trusted Authentication-Results header: pass, fail, none, ...",
    "auth.dmarc": "The result of DMARC by a trusted Authentication-Results header: pass, fail, none, ...",
    "ip": "The client's address, such as {within: 192.0.2.0/24}.",
    "received": "When the mail was received.",
    "ingress": "The configured way in.",
}

PARTS: Final[Mapping[str, str]] = {
    "domain": "The domain of `{}`: what stands after @.",
    "user": "The user of `{}`: what stands before + and @.",
    "detail": "The detail of `{}`: what stands between + and @; there is none without a +.",
    "name": "The display name of `{}`.",
}

OPERATORS: Final[Mapping[str, str]] = {
    "is": "Is the text, or one of them; upper and lower case are the same.",
    "contains": "Contains the text, or one of them.",
    "word": "Contains the text with no letter, digit or underscore directly before or after it.",
    "starts_with": "Begins with the text, or one of them.",
    "ends_with": "Ends with the text, or one of them.",
    "glob": "As a whole is like the text, in which * stands for any characters and ? for one.",
    "matches": "Contains something that the regular expression (syntax of RE2) matches. Put it in single quotes.",
    "in": "Is an entry of the named list, or like one that is a glob.",
    "exists": "true: the mail has such a value. false: it has none.",
    "above": "Is larger than the number.",
    "below": "Is smaller than the number.",
    "at_least": "Is the number or larger.",
    "at_most": "Is the number or smaller.",
    "within": "Lies in the network, or in one of them.",
    "case_sensitive": "true: `matches` looks at case.",
}

RECEIVED: Final[Mapping[str, str]] = {
    "weekday": "mon, tue, wed, thu, fri, sat, sun, or a span such as mon-fri; one or a list.",
    "between": "A span of the day, such as 09:00-17:00 or 22:00-06:00; one or a list.",
    "from": "The first day, such as 2026-12-24.",
    "until": "The last day, inclusive.",
    "date": "A day, or a list of days.",
    "timezone": "Whose clock counts, such as Europe/Berlin; without it that of config.yaml.",
}

ATTACHMENT: Final[Mapping[str, str]] = {
    "name": "The file's name.",
    "type": "The media type, such as application/pdf.",
    "size": "Size of the file, such as {above: 1MB}.",
}

EXTRACT: Final[Mapping[str, str]] = {
    "from": "A field, an extracted value, or header.NAME.",
    "matches": "A regular expression (syntax of RE2) or a list of them; the first that matches counts. The value is"
    " what the first group caught, or the named groups as NAME.group.",
    "case_sensitive": "true: the patterns look at case.",
    "map": "A named list with values, in which what was found is looked up.",
    "default": "The value where nothing matches. Without it, a rule whose value is not found does not match.",
}

COMMON: Final[Mapping[str, str]] = {
    "title": "One line; without it the subject.",
    "body": "Without it the text of the mail; its reply text where the destination comments on an item.",
    "footer": "Stands below the body.",
    "attachments": "`all` (without it), `none`, or a test of which go along.",
}

BESIDE: Final[Mapping[str, str]] = {
    "reuse": "false: makes another item, though the conversation has one at this destination.",
    "per_recipient": "true: acts once for each recipient that matches, not once for the mail.",
}

BUILT_IN: Final[Mapping[str, str]] = {
    "update": "Comments on, and may close or reopen, the items that this mail's conversation has; makes none.",
    "hold": "Nothing of this mail is sent until a person decides, whatever other rules plan.",
    "drop": "Nothing of this mail is sent; it is recorded and counted.",
}

BUILT_IN_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "update": {
        "body": "What the comment says; without it the reply text.",
        "state": "Closes or reopens the items.",
        "destination": "Only the item at this destination.",
    },
    "hold": {"reason": "Why: for the people who decide."},
    "drop": {"reason": "Why: for the people who look the mail up."},
}

CORRELATE: Final[Mapping[str, str]] = {
    "by": "The key, a template: mails with the same belong to one item.",
    "window": "How long after the last such mail, such as 7d.",
    "group": "A name under which several rules share keys; without it the rule's.",
}

LIMIT: Final[Mapping[str, str]] = {
    "per": "The key, a template: mails with the same are counted together.",
    "count": "How many act.",
    "window": "In which time, such as 1h.",
    "over": "What becomes of the mails beyond; without it, suppress.",
}

KINDS: Final[Mapping[str, str]] = {
    "new": "Neither an answer of anybody nor of a program.",
    "reply": "Somebody answers.",
    "auto_reply": "A program answered: an absence note, a receipt.",
    "bounce": "A mail server reports that a mail could not be delivered.",
    "list": "It came over a mailing list.",
    "automated": "A program wrote it, unasked.",
    "loop": "It is ours and came back, or it goes in a circle.",
}

MODES: Final[Mapping[str, str]] = {
    "live": "It acts.",
    "log_only": "That it matched is recorded; nothing is sent.",
    "disabled": "It is passed over.",
}

OVER: Final[Mapping[str, str]] = {
    "suppress": "The rule's actions do not happen for it.",
    "hold": "The mail waits for a person.",
    "drop": "Nothing of the mail is sent.",
}

MAIL: Final[Mapping[str, str]] = {
    "recipient": "Where it is sent (the SMTP envelope recipient).",
    "from": "The From header, such as jo@example.org, or Jo <jo@example.org>.",
    "subject": "The subject.",
    "text": "The plain text.",
    "received_at": "When it comes, such as 2026-11-22T10:00:00Z.",
}

TEST: Final[Mapping[str, str]] = {
    "name": "What the test shows.",
    "message": "The mail: its fields, or the path of a document or an .eml file, relative to this file.",
    "earlier": "Mails that came before it.",
    "expect": "Everything that must happen: entries with a rule, and an action with those of its fields that count.",
}


def told(known: Iterable[str], meanings: Mapping[str, str]) -> dict[str, str]:
    """The words that there are, with what is said about them: nothing where nobody wrote it."""
    return {word: meanings.get(word, "") for word in known}
