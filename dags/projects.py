"""The Airflow DAGs of all projects whose declaration is in order. The others are reported by declarations.py."""

from airflow.sdk import DAG

from dags.factory import build
from dags.steps import repo

for _made in build(repo()):
    if isinstance(_made, DAG):
        globals()[_made.dag_id] = _made
