"""Migrates Airflow's database and makes its accounts, in one process. Safe to repeat.

`admin` is the owner's account. `platform` is the command line's: it may see everything and start DAGs.
"""

import os
import sys

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.utils import db
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from werkzeug.security import check_password_hash

ACCOUNTS = {"admin": "Admin", "platform": "User"}


@providers_configuration_loaded
def main() -> None:
    """Upgrade the schema, rebuild the roles, and create or update every account."""
    db.upgradedb()
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
