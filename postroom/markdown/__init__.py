"""Markdown, as Postroom renders it, in the markups of systems that know none: read once, written in each of them.

`compose` puts the words of an image in its place unless it gets an address for it: an integration that converts
afterwards hands it `cid:` with the percent-encoded Content-ID, and the address itself to `convert`.

Each module has `convert(markdown, ...)`: `adf` (Jira Cloud), `wiki` (Jira Data Center), `html`, `mrkdwn` (Slack) and
`text`. Import them inside of functions: the parser costs memory that only some destinations need.
"""
