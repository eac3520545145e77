"""Has no DAG. Its import fails in Airflow, and so shows in the UI, where a project's DAGs could not be made.

In a file of its own because a file that fails loses all its DAGs: one wrong declaration must not take the rest along.
"""

from dags.factory import build
from dags.steps import repo
from pipelines.errors import StepError

_wrong = [made for made in build(repo()) if isinstance(made, StepError)]
if _wrong:
    raise StepError("\n".join(map(str, _wrong)))
