"""The webhook of the model server is there once, however often it is made."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient

from compose.mlflow.init import EVENTS, WEBHOOK, register_webhook

URL = "http://127.0.0.1:8000/webhooks/mlflow"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's own store, without the server around it."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return MlflowClient(uri, uri)


def test_the_webhook_is_made_once_and_brought_up_to_date(client: MlflowClient) -> None:
    client.create_webhook("somebody-elses", URL, ["registered_model.created"])
    register_webhook(client, URL, "old secret")
    (made,) = (webhook for webhook in client.list_webhooks() if webhook.name == WEBHOOK)
    client.create_webhook(WEBHOOK, URL, ["registered_model.created"])
    client.update_webhook(made.webhook_id, status="DISABLED", events=["registered_model.created"])
    for _ in range(2):
        register_webhook(client, URL.replace("8000", "8001"), "new secret")
    webhooks = client.list_webhooks()
    assert sorted(webhook.name for webhook in webhooks) == [WEBHOOK, "somebody-elses"]
    (kept,) = (webhook for webhook in webhooks if webhook.name == WEBHOOK)
    assert kept.url.endswith(":8001/webhooks/mlflow")
    assert kept.secret == "new secret"
    assert kept.status.is_active()
    assert sorted(str(event) for event in kept.events) == sorted(EVENTS)
