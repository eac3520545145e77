"""Sessions of the warehouse, on a real PostgreSQL."""

from pipelines.warehouse import open_database
from tools.postgres import Postgres


def test_times_are_in_utc_whatever_else_the_address_asks_for(postgres: Postgres) -> None:
    postgres.query("ALTER ROLE pipelines SET TimeZone = 'America/New_York'")
    plain = postgres.url("pipelines")
    for url, path in ((plain, '"$user", public'), (f"{plain}?options=-csearch_path%3Dscratch", "scratch")):
        with open_database(url) as connection:
            assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
            assert connection.execute("SHOW search_path").fetchone() == (path,)
