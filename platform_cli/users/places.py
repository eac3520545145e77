"""The services of a stack in which people have accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from platform_cli.clients.airflow import Airflow
from platform_cli.clients.grafana import Grafana
from platform_cli.clients.mlflow import MLflow
from platform_cli.clients.serving import ModelServer
from platform_cli.coder.client import Coder
from platform_cli.coder.provision import SERVICE as CODER
from platform_cli.coder.provision import is_part_of, sign_in
from platform_cli.runtime import StackRuntime
from platform_cli.users.airflow import AirflowPlace
from platform_cli.users.coder import CoderPlace
from platform_cli.users.grafana import GrafanaPlace
from platform_cli.users.mlflow import MLflowPlace, MLflowProgramsPlace
from platform_cli.users.place import Place
from platform_cli.users.serving import ServingPlace
from platform_cli.users.warehouse import WarehousePlace

ADMIN = "admin"
"""The owner's account in every service that people sign in to."""


def open_places(runtime: StackRuntime) -> list[Place]:
    """Every such service that this stack runs: first those that people sign in to, then those that programs use."""
    stack = runtime.stack
    mlflow = MLflow(_url(runtime, "mlflow"), ADMIN, stack.secrets["MLFLOW_ADMIN_PASSWORD"])
    airflow_url, airflow_password = _url(runtime, "airflow-api-server"), stack.secrets["AIRFLOW_ADMIN_PASSWORD"]
    places: list[Place] = [MLflowPlace(mlflow), AirflowPlace(lambda: Airflow(airflow_url, ADMIN, airflow_password))]
    running = {service.name for service in stack.running}
    if "grafana" in running:
        places.append(GrafanaPlace(Grafana(_url(runtime, "grafana"), ADMIN, stack.secrets["GRAFANA_ADMIN_PASSWORD"])))
    if is_part_of(stack):
        places.append(CoderPlace(lambda: _coder(runtime)))
    server = ModelServer(_url(runtime, "serving"), stack.secrets["SERVING_ADMIN_KEY"])
    return [*places, MLflowProgramsPlace(mlflow), WarehousePlace(runtime), ServingPlace(server)]


def _url(runtime: StackRuntime, service: str) -> str:
    """Where this machine finds a service."""
    return runtime.stack.service(service).url


@contextmanager
def _coder(runtime: StackRuntime) -> Iterator[Coder]:
    stack = runtime.stack
    with Coder(_url(runtime, CODER)) as coder:
        email, password = stack.settings["CODER_ADMIN_EMAIL"], stack.secrets["CODER_ADMIN_PASSWORD"]
        sign_in(coder, email, password, runtime.home, lambda _: None)
        yield coder
