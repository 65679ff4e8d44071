"""Markdown, as Postroom renders it, in the markups of systems that know none: read once, written in each of them.

Each module has `convert(markdown, ...)`: `adf` (Jira Cloud), `wiki` (Jira Data Center), `html`, `mrkdwn` (Slack) and
`text`. Import them inside of functions: the parser costs memory that only some destinations need.
"""
