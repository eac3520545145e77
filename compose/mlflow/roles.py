"""Who has an account in MLflow, and what people's roles may do there. Plain data: `init` makes it, `accounts` asks."""

from collections.abc import Mapping

SERVICES = ("admin", "pipelines", "serving", "prometheus")
"""The accounts of the platform itself; every other one is a person's."""
PROGRAMS = ".workspace"
"""NAME.workspace is the account of the programs of the person NAME: it acts as NAME, with a password of its own that
can be taken back without the person's. No person's name has a dot."""

VIEWER, SCIENTIST, DISABLED = "viewer", "scientist", "disabled"
Grants = tuple[tuple[str, str, str], ...]
EDIT_ALL: Grants = (("experiment", "*", "EDIT"), ("registered_model", "*", "EDIT"))

ROLES: Mapping[str, Grants] = {
    VIEWER: (),
    SCIENTIST: (),
    "engineer": EDIT_ALL,
    "admin": (),
    DISABLED: (),
}
"""Role → what it is granted beyond `default_permission` (type, pattern, permission). Who makes an experiment may do all
with it; `accounts` says what some roles may not make. An admin's rights come with MLflow's own flag."""
