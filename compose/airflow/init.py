"""Migrates Airflow's database and makes its accounts, in one process. Safe to repeat.

`admin` is the owner's account. `platform` is the command line's: it may see everything and start DAGs. The database
role `airflow_exporter` may read what compose/exporters/airflow.yml asks for.
"""

import os
import sys

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.utils import db
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from airflow.utils.session import create_session
from sqlalchemy import text
from werkzeug.security import check_password_hash

ACCOUNTS = {"admin": "Admin", "platform": "User"}
# table → columns: states and times, not what a run was given or a task printed
READ_BY_EXPORTER = {
    "dag": "dag_id, is_paused, is_stale, last_parse_duration, last_parsed_time",
    "dag_run": "dag_id, state, run_after, start_date, end_date",
    "import_error": "id",
    "job": "job_type, latest_heartbeat",
    "task_instance": "id, dag_id, task_id, state, queued_dttm, end_date",
}


@providers_configuration_loaded
def main() -> None:
    """Upgrade the schema, let the exporter read, rebuild the roles, and create or update every account."""
    db.upgradedb()
    with create_session() as session:
        for table, columns in READ_BY_EXPORTER.items():
            session.execute(text(f"GRANT SELECT ({columns}) ON {table} TO airflow_exporter"))
    with get_application_builder() as builder:
        # Without the views of accounts and roles among the permissions nobody, the owner included, may make an account.
        builder.add_permissions(update_perms=True)
        security = builder.sm
        security.sync_roles()
        for name, role in ACCOUNTS.items():
            password = os.environ[f"AIRFLOW_{name.upper()}_PASSWORD"]
            user = security.find_user(username=name)
            if user is None:
                user = security.add_user(name, name, "account", f"{name}@localhost", security.find_role(role), password)
                if not user:
                    sys.exit(f"Airflow refused to make the account {name}")
                print(f"made account {name} ({role})")
            elif not check_password_hash(user.password, password):
                security.reset_password(user.id, password)
                print(f"changed the password of {name}")


if __name__ == "__main__":
    main()
