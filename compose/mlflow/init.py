"""Makes MLflow's accounts, or brings their passwords up to date. Safe to repeat.

The account store is written directly, because the REST API can change a password only with a password that
still works: after a rotation of `admin`'s there is none. MLflow itself owns the tables.
"""

import os

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

ACCOUNTS = ("admin", "pipelines", "serving", "prometheus")


def main() -> None:
    """Create or update every account; only `admin` administers."""
    store = SqlAlchemyStore()
    store.init_db(os.environ["MLFLOW_AUTH_DATABASE_URI"])
    for name in ACCOUNTS:
        password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
        if not store.has_user(name):
            store.create_user(name, password, is_admin=name == "admin")
            print(f"made account {name}")
        elif not store.authenticate_user(name, password):
            store.update_user(name, password=password)
            print(f"changed the password of {name}")


if __name__ == "__main__":
    main()
