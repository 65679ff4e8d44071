"""The schema, script by script, in the order in which migrations apply them. Only ever added to.

Times are milliseconds since 1970 (UTC). Every table that others refer to has an INTEGER PRIMARY KEY (`seq`) beside the
UUID that people and programs see: short references, and full-text search can name its rows.
"""

from __future__ import annotations

import sqlite3

from postroom.store.conversations import key_of_address

SPINE = """
CREATE TABLE rule_sets (
  seq INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, files BLOB NOT NULL, created_at INTEGER NOT NULL);

CREATE TABLE messages (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, received_at INTEGER NOT NULL, ingress TEXT NOT NULL,
  recipient TEXT NOT NULL, return_path TEXT NOT NULL, from_address TEXT, from_name TEXT, subject TEXT,
  state TEXT NOT NULL, reason TEXT, rule_set INTEGER NOT NULL, matched TEXT NOT NULL,
  conversation INTEGER NOT NULL, size INTEGER NOT NULL, attachments INTEGER NOT NULL);
CREATE INDEX messages_conversation ON messages (conversation, from_address COLLATE NOCASE);
CREATE INDEX messages_participation ON messages (conversation, recipient COLLATE NOCASE);
CREATE INDEX messages_waiting ON messages (state, seq) WHERE state <> 'routed';

-- The message and the provider's payload in one compressed block: they repeat each other, so both cost little more
-- than one.
CREATE TABLE contents (message INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE blobs (seq INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE chunks (blob INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX chunks_of_blob ON chunks (blob, position);
CREATE TABLE attachments (message INTEGER NOT NULL, position INTEGER NOT NULL, blob INTEGER NOT NULL,
  PRIMARY KEY (message, position)) WITHOUT ROWID;

-- Delivery identities outlive the text of their messages. A weak one (no Message-ID, no Received) counts for ten
-- minutes.
CREATE TABLE identities (identity BLOB PRIMARY KEY, message TEXT NOT NULL, at INTEGER NOT NULL, weak INTEGER NOT NULL)
  WITHOUT ROWID;

CREATE TABLE thread_keys (key BLOB NOT NULL, conversation INTEGER NOT NULL, PRIMARY KEY (key, conversation))
  WITHOUT ROWID;

CREATE TABLE deliveries (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, message INTEGER NOT NULL, conversation INTEGER NOT NULL,
  rule TEXT NOT NULL, action INTEGER NOT NULL, destination TEXT NOT NULL, extracted TEXT,
  state TEXT NOT NULL, reason TEXT, once BLOB UNIQUE, attempts INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, next_at INTEGER NOT NULL, lease TEXT, lease_until INTEGER,
  uncertain INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, finished_at INTEGER, content BLOB,
  reference TEXT, url TEXT);
CREATE INDEX deliveries_of_message ON deliveries (message);
CREATE INDEX deliveries_due ON deliveries (destination, next_at, seq) WHERE state IN ('pending', 'retrying');
CREATE INDEX deliveries_open ON deliveries (destination, conversation, seq)
  WHERE state IN ('pending', 'sending', 'retrying');
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'sending';
CREATE INDEX deliveries_dead ON deliveries (destination, seq) WHERE state = 'dead';

CREATE TABLE attempts (
  seq INTEGER PRIMARY KEY, delivery INTEGER NOT NULL, number INTEGER NOT NULL, started_at INTEGER NOT NULL,
  took_ms INTEGER, result TEXT NOT NULL, status INTEGER, error TEXT, answer TEXT);
CREATE INDEX attempts_of_delivery ON attempts (delivery, number);

CREATE TABLE steps (delivery INTEGER NOT NULL, step TEXT NOT NULL, reference TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (delivery, step)) WITHOUT ROWID;

-- The item that a conversation has at a destination: later mail comments on it.
CREATE TABLE items (conversation INTEGER NOT NULL, destination TEXT NOT NULL, reference TEXT NOT NULL, url TEXT,
  delivery INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (conversation, destination)) WITHOUT ROWID;

-- What happened beside attempts: documents absorbed, people's actions.
CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
  message INTEGER, delivery INTEGER, detail TEXT);
CREATE INDEX events_of_message ON events (message);

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE users (name TEXT PRIMARY KEY, password_hash TEXT NOT NULL, role TEXT NOT NULL, created_at INTEGER NOT NULL)
  WITHOUT ROWID;
"""
"""Messages, the outbox, attempts, rule sets, people."""

MAIL_SEMANTICS = """
-- The senders and recipients of messages as keys that are equal for equal addresses (store/conversations.py); how each
-- was classed, and by which evidence it was found to continue its conversation.
ALTER TABLE messages ADD COLUMN sender BLOB;
ALTER TABLE messages ADD COLUMN addressee BLOB;
ALTER TABLE messages ADD COLUMN kinds TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN found_by TEXT;
UPDATE messages SET sender = key_of_address(COALESCE(NULLIF(from_address, ''), return_path)),
  addressee = key_of_address(recipient);
DROP INDEX messages_conversation;
DROP INDEX messages_participation;
CREATE INDEX messages_conversation ON messages (conversation, received_at);
CREATE INDEX messages_participants ON messages (conversation, sender);
CREATE INDEX messages_addressees ON messages (conversation, addressee);
CREATE INDEX messages_sender ON messages (sender, received_at);
CREATE INDEX items_reference ON items (reference);
"""
"""Kinds of mail, equal addresses, the loop brake's counts."""

RULE_LANGUAGE = """
-- Which rules held a message: its release routes it as if they were not there. What it was told of the items that its
-- conversation had, where a rule asked.
ALTER TABLE messages ADD COLUMN held_by TEXT;
ALTER TABLE messages ADD COLUMN saw_items TEXT;
-- 1: it makes an item of its own though the conversation has one.
ALTER TABLE deliveries ADD COLUMN own_item INTEGER NOT NULL DEFAULT 0;
-- Mails that a rule correlates by a key: the conversation that the key leads to, and when it was last used.
CREATE TABLE correlations (key BLOB PRIMARY KEY, conversation INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
-- Mails that counted for a limit.
CREATE TABLE limit_uses (key BLOB NOT NULL, at INTEGER NOT NULL, message INTEGER NOT NULL,
  PRIMARY KEY (key, at, message)) WITHOUT ROWID;
"""
"""Rules that hold, correlate, limit, and ask for items."""

DESTINATIONS = """
-- Destinations that a person paused, or whose circuit is open; and when the last try of a delivery whose result is
-- unknown was over, for searches that lag.
CREATE TABLE destinations (name TEXT PRIMARY KEY, paused_at INTEGER, paused_by TEXT, pause_reason TEXT,
  opened_at INTEGER, probe_at INTEGER NOT NULL DEFAULT 0, error TEXT) WITHOUT ROWID;
ALTER TABLE deliveries ADD COLUMN unknown_at INTEGER;
"""
"""Paused destinations, circuit breakers, searches that lag."""

SEARCH = """
-- What messages are found by: see store/search_index.py. The full-text index holds no text of its own, and no places of
-- words: a search is a conjunction of words, newest message first.
CREATE VIRTUAL TABLE search USING fts5(subject, sender, recipient, text, content='', detail=column, prefix='2 3 4 5',
  tokenize='unicode61 remove_diacritics 0');
CREATE TABLE facets (seq INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE facet_messages (facet INTEGER NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (facet, message))
  WITHOUT ROWID;
CREATE INDEX deliveries_reference ON deliveries (reference COLLATE NOCASE) WHERE reference IS NOT NULL;
CREATE INDEX facets_of_message ON facet_messages (message);
"""
"""Full-text search and facets."""

STATISTICS = """
-- Counts by time slot: see store/statistics.py.
CREATE TABLE traffic (span INTEGER NOT NULL, slot INTEGER NOT NULL, ingress TEXT NOT NULL, rule TEXT NOT NULL,
  destination TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (span, slot, ingress, rule, destination))
  WITHOUT ROWID;
CREATE TABLE arrivals (span INTEGER NOT NULL, slot INTEGER NOT NULL, ingress TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (span, slot, ingress)) WITHOUT ROWID;
CREATE TABLE outcomes (span INTEGER NOT NULL, slot INTEGER NOT NULL, destination TEXT NOT NULL, result TEXT NOT NULL,
  latency INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (span, slot, destination, result, latency))
  WITHOUT ROWID;
"""
"""Traffic, arrivals and outcomes over time."""

RULE_EDITING = """
-- Edits of rule files that are not active yet, of each person: text NULL takes the file away; base is what stood on the
-- disk when the edit began, NULL where there was no such file.
CREATE TABLE rule_drafts (seq INTEGER PRIMARY KEY, who TEXT NOT NULL, path TEXT NOT NULL, text TEXT, base TEXT,
  at INTEGER NOT NULL, UNIQUE (who, path));
-- Which rule set was active from when, and by whom.
CREATE TABLE rule_activations (seq INTEGER PRIMARY KEY, rule_set INTEGER NOT NULL, at INTEGER NOT NULL,
  who TEXT NOT NULL);
INSERT INTO rule_activations (rule_set, at, who)
  SELECT CAST(substr(detail, 10) AS INTEGER), at, who FROM events WHERE what = 'rules' ORDER BY seq;
"""
"""Drafts of rules, and the history of rule sets."""


PEOPLE = """
-- Who is logged in, and the keys of programs: of the cookie's id and of a key, the SHA-256 alone is here. `mark` is
-- that of the password with which the session began.
CREATE TABLE sessions (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, mark TEXT NOT NULL,
  created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL);
CREATE INDEX sessions_of_name ON sessions (name, seq);
CREATE TABLE tokens (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
  created_by TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER, used_at INTEGER);
-- What people did: see store/audit.py. Documents that came twice are in none of these, so that they stay cheap.
CREATE INDEX events_of_people ON events (seq) WHERE what <> 'absorbed' AND who <> 'postroom';
CREATE INDEX events_by_who ON events (who, seq) WHERE what <> 'absorbed' AND who <> 'postroom';
CREATE INDEX events_by_what ON events (what, seq) WHERE what <> 'absorbed' AND who <> 'postroom';
CREATE INDEX events_by_both ON events (who, what, seq) WHERE what <> 'absorbed' AND who <> 'postroom';
"""
"""Sessions, keys of programs, the audit log."""


ACTING = """
-- The rule set that a delivery's content is made under, where that is no longer its message's: see store/routing.py.
ALTER TABLE deliveries ADD COLUMN rule_set INTEGER;
-- What people asked for once, by a key that their form gave it, with the answer: see store/redelivery.py.
CREATE TABLE asked (token BLOB PRIMARY KEY, at INTEGER NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX asked_at ON asked (at);
"""
"""Messages routed again, deliveries made again."""


WAYS_IN = """
-- What providers sign in place of a document, with a hash of the document that used it up: see store/tickets.py.
CREATE TABLE tickets (token BLOB PRIMARY KEY, document BLOB NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tickets_expire ON tickets (expires_at);
"""
"""Requests that must not be used again."""


def run(db: sqlite3.Connection, script: str) -> None:
    """Runs a script inside the transaction of its caller."""
    db.create_function("key_of_address", 1, key_of_address, deterministic=True)
    # Not executescript: it would commit the transaction first.
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


def in_memory() -> sqlite3.Connection:
    """An empty store that is gone when it is closed."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    for script in (
        SPINE,
        MAIL_SEMANTICS,
        RULE_LANGUAGE,
        DESTINATIONS,
        SEARCH,
        STATISTICS,
        RULE_EDITING,
        PEOPLE,
        ACTING,
        WAYS_IN,
    ):
        run(db, script)
    return db
