"""The schema by migrations that are only ever added to: see schema.py for what each makes."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from postroom.store import schema

migrations = Migrations("postroom")


@migrations()
def spine(db: Database) -> None:
    schema.run(db.conn, schema.SPINE)


@migrations()
def mail_semantics(db: Database) -> None:
    schema.run(db.conn, schema.MAIL_SEMANTICS)


@migrations()
def rule_language(db: Database) -> None:
    schema.run(db.conn, schema.RULE_LANGUAGE)


@migrations()
def destinations(db: Database) -> None:
    schema.run(db.conn, schema.DESTINATIONS)


@migrations()
def search(db: Database) -> None:
    schema.run(db.conn, schema.SEARCH)


@migrations()
def statistics(db: Database) -> None:
    schema.run(db.conn, schema.STATISTICS)


@migrations()
def rule_editing(db: Database) -> None:
    schema.run(db.conn, schema.RULE_EDITING)


@migrations()
def people(db: Database) -> None:
    schema.run(db.conn, schema.PEOPLE)


@migrations()
def acting(db: Database) -> None:
    schema.run(db.conn, schema.ACTING)


@migrations()
def ways_in(db: Database) -> None:
    schema.run(db.conn, schema.WAYS_IN)
