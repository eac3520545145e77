"""The tables in PostgreSQL: predictions by month, feedback, the view that joins them, and what is shipped already."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[object, ...]]

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('serving.predictions'))"
# Dropping a partition has to wait for who reads the table, and makes readers wait behind it meanwhile.
_DROP_WAIT = "SET LOCAL lock_timeout = '2s'"
_SHIPPED_KEPT = "30 days"

# Feedback is joined by its text, so that one table takes ids and entity keys. `shipped_bytes` says how much of a
# segment is committed; it moves in the transaction of the rows.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    model text NOT NULL,
    version int NOT NULL,
    role text NOT NULL,
    entity_key text,
    features jsonb NOT NULL,
    prediction jsonb NOT NULL,
    probability double precision,
    latency_ms double precision NOT NULL,
    caller text NOT NULL,
    request_id text,
    PRIMARY KEY (created_at, prediction_id, role)
) PARTITION BY RANGE (created_at);
CREATE INDEX IF NOT EXISTS predictions_by_time ON predictions (model, created_at);
CREATE INDEX IF NOT EXISTS predictions_by_entity ON predictions (model, entity_key);
CREATE TABLE IF NOT EXISTS feedback (
    model text NOT NULL,
    subject text NOT NULL CHECK (subject IN ('prediction', 'entity')),
    key text NOT NULL,
    outcome jsonb NOT NULL,
    observed_at timestamptz,
    received_at timestamptz NOT NULL,
    caller text NOT NULL,
    times int NOT NULL DEFAULT 1,
    PRIMARY KEY (model, subject, key)
);
CREATE TABLE IF NOT EXISTS journal_positions (
    segment text PRIMARY KEY,
    shipped_bytes bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE OR REPLACE VIEW outcomes AS
SELECT p.prediction_id, p.created_at, p.model, p.version, p.role, p.entity_key, p.features, p.prediction,
    p.probability, coalesce(own.outcome, shared.outcome) AS outcome,
    coalesce(own.observed_at, own.received_at, shared.observed_at, shared.received_at) AS observed_at,
    coalesce(own.subject, shared.subject) AS known_by
FROM predictions p
LEFT JOIN feedback own ON own.model = p.model AND own.subject = 'prediction' AND own.key = p.prediction_id::text
LEFT JOIN feedback shared ON shared.model = p.model AND shared.subject = 'entity' AND shared.key = p.entity_key
WHERE p.role IN ('champion', 'canary') AND (own.key IS NOT NULL OR shared.key IS NOT NULL);
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pipelines') THEN
        GRANT SELECT ON predictions, feedback, outcomes TO pipelines;
    END IF;
END $$;
"""
_IS_PLAIN = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('predictions')"
_SET_ASIDE = """
ALTER TABLE predictions RENAME TO predictions_plain;
ALTER TABLE predictions_plain RENAME CONSTRAINT predictions_pkey TO predictions_plain_pkey;
DROP INDEX IF EXISTS predictions_by_time, predictions_by_entity;
"""
_PLAIN_MONTHS = "SELECT DISTINCT date_trunc('month', created_at AT TIME ZONE 'UTC') FROM predictions_plain"
_MOVE = """
INSERT INTO predictions SELECT prediction_id, created_at, model, version, alias, entity_key, features, prediction,
    probability, latency_ms, caller, NULL FROM predictions_plain;
DROP TABLE predictions_plain;
"""
_PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions'::regclass"


def month_of(moment: datetime) -> datetime:
    """Return the first moment of a moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the month after `month`."""
    return month_of(month + timedelta(days=31))


class Tables:
    """The tables as one connection's user sees them. The connection commits by itself."""

    def __init__(self, connection: Connection) -> None:
        """Create what is missing, and move rows of an older, plain table into the one that has partitions.

        Raises:
            psycopg.Error: PostgreSQL is away, or does not allow it.
        """
        self._connection = connection
        self._months: set[datetime] = set()
        with connection.transaction():
            connection.execute(_LOCK)
            plain = connection.execute(_IS_PLAIN).fetchone()
            if plain is not None and plain[0]:
                self._move_plain()
            else:
                connection.execute(_SCHEMA)
        self._months = {month for month, _ in self._partitions()}

    def prepare_months(self, moments: Iterable[datetime]) -> None:
        """Have partitions for rows of these moments.

        Raises:
            psycopg.Error: see above.
        """
        missing = {month_of(moment) for moment in moments} - self._months
        if missing:
            with self._connection.transaction():
                self._connection.execute(_LOCK)
                self._create_partitions(missing)
        self._months |= missing

    def care(self, now: datetime, retention_days: int) -> None:
        """Prepare this month and the next, and forget what is older than `retention_days` (0: nothing is).

        Raises:
            psycopg.Error: see above.
        """
        self.prepare_months([now, next_month(now)])
        if retention_days == 0:
            return
        oldest = now - timedelta(days=retention_days)
        for month, name in self._partitions():
            if next_month(month) <= oldest:
                self._drop(month, name)
        self._connection.execute("DELETE FROM feedback WHERE received_at < %s", (oldest,))

    def forget_segments(self, present: Iterable[str]) -> None:
        """Forget the positions of segments that were shipped and deleted long ago.

        They are kept for a while: a file that a crash of the machine brings back must not be shipped again.
        """
        self._connection.execute(
            f"DELETE FROM journal_positions WHERE updated_at < now() - interval '{_SHIPPED_KEPT}' "  # noqa: S608
            "AND segment <> ALL (%s)",
            (list(present),),
        )

    def _partitions(self) -> list[tuple[datetime, str]]:
        names = [str(row[0]) for row in self._connection.execute(_PARTITIONS).fetchall()]
        return [(datetime.strptime(name[-7:], "%Y_%m").replace(tzinfo=UTC), name) for name in names]

    def _create_partitions(self, months: Iterable[datetime]) -> None:
        # ATTACH lets readers go on, which CREATE TABLE … PARTITION OF does not.
        for month in sorted(months):
            name = sql.Identifier(f"predictions_{month:%Y_%m}")
            bounds = (sql.Literal(month.isoformat()), sql.Literal(next_month(month).isoformat()))
            self._connection.execute(sql.SQL("CREATE TABLE {} (LIKE predictions INCLUDING ALL)").format(name))
            self._connection.execute(
                sql.SQL("ALTER TABLE predictions ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    name, *bounds
                )
            )

    def _drop(self, month: datetime, name: str) -> None:
        try:
            with self._connection.transaction():
                self._connection.execute(_DROP_WAIT)
                self._connection.execute(_LOCK)
                self._connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        except psycopg.errors.LockNotAvailable:
            log.info("%s is read just now; it is dropped later", name)
            return
        self._months.discard(month)
        log.info("dropped %s: it is older than the retention", name)

    def _move_plain(self) -> None:
        log.info("the table of predictions gets partitions by month; its rows are moved")
        self._connection.execute(_SET_ASIDE)
        self._connection.execute(_SCHEMA)
        months = [row[0] for row in self._connection.execute(_PLAIN_MONTHS).fetchall()]
        self._create_partitions(month.replace(tzinfo=UTC) for month in months if isinstance(month, datetime))
        self._connection.execute(_MOVE)
