"""Makes MLflow's accounts, its roles and its webhook, or brings them up to date. Safe to repeat.

The account store is written directly, because the REST API can change a password only with a password that
still works: after a rotation of `admin`'s there is none. MLflow itself owns the tables.
"""

import os

from mlflow import MlflowClient
from mlflow.entities.webhook import Webhook, WebhookEventStr
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

from compose.mlflow.roles import ROLES, SERVICES

WEBHOOK = "platform-serving"
EVENTS: tuple[WebhookEventStr, ...] = (
    "model_version_alias.created",
    "model_version_alias.deleted",
    "model_version_tag.set",
    "model_version_tag.deleted",
)


def main() -> None:
    """Create or update every account, of which only `admin` administers, people's roles, and the webhook of the model
    server."""
    store = SqlAlchemyStore()
    store.init_db(os.environ["MLFLOW_AUTH_DATABASE_URI"])
    for name in SERVICES:
        password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
        if not store.has_user(name):
            store.create_user(name, password, is_admin=name == "admin")
            print(f"made account {name}")
        elif not store.authenticate_user(name, password):
            store.update_user(name, password=password)
            print(f"changed the password of {name}")
    make_roles(store)
    os.environ.update(MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD=os.environ["MLFLOW_ADMIN_PASSWORD"])
    uri = os.environ["MLFLOW_TRACKING_URI"]
    register_webhook(MlflowClient(uri, uri), os.environ["SERVING_WEBHOOK_URL"], os.environ["SERVING_WEBHOOK_SECRET"])


def make_roles(store: SqlAlchemyStore) -> None:
    """Have the roles of people with exactly their grants."""
    known = {role.name: role for role in store.list_roles([DEFAULT_WORKSPACE_NAME])}
    for name, grants in ROLES.items():
        role = known.get(name) or store.create_role(name, DEFAULT_WORKSPACE_NAME)
        found = {(held.resource_type, held.resource_pattern, held.permission): held.id for held in role.permissions}
        for surplus in found.keys() - set(grants):
            store.remove_role_permission(found[surplus])
        for missing in set(grants) - found.keys():
            store.add_role_permission(role.id, *missing)


def register_webhook(client: MlflowClient, url: str, secret: str) -> None:
    """Let MLflow tell the model server at `url` what happens to aliases and tags, signed with `secret`."""
    events = list(EVENTS)
    known = [webhook for webhook in _webhooks(client) if webhook.name == WEBHOOK]
    if not known:
        client.create_webhook(WEBHOOK, url, events, secret=secret)
        print(f"made webhook {WEBHOOK} to {url}")
    for webhook in known[:1]:
        # MLflow does not tell the secret, so whether it is still the right one cannot be seen.
        client.update_webhook(webhook.webhook_id, url=url, events=events, secret=secret, status="ACTIVE")
    for webhook in known[1:]:
        client.delete_webhook(webhook.webhook_id)


def _webhooks(client: MlflowClient) -> list[Webhook]:
    found: list[Webhook] = []
    token: str | None = None
    while True:
        page = client.list_webhooks(max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


if __name__ == "__main__":
    main()
