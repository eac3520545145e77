"""The workspace template: Terraform's own plan of it, asserted. The providers are stand-ins, so what only the real ones
check stays unchecked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import IMAGE, TEMPLATE, Planner, Terraform

PREFIX = "/@ana/Work/apps/jupyter"
CONTAINER = "docker_container.workspace[0]"


def test_it_is_valid_and_formatted(terraform: Terraform) -> None:
    assert json.loads(terraform.run("validate", "-json"))["valid"]
    code, out, _ = terraform.attempt("fmt", "-check", "-diff", str(TEMPLATE))
    assert code == 0, out


def test_it_needs_nothing_from_the_internet_to_be_read() -> None:
    assert "module " not in "".join(path.read_text() for path in TEMPLATE.glob("*.tf"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('resource "docker_container" "x" {\n  image = "i"\n  name = "n"\n  volume {}\n}', "Unsupported block type"),
        ('resource "coder_app" "x" {\n  agent_id = "a"\n  slug = "s"\n  share = "all"\n}', "'all' is not one of"),
        ('output "x" {\n  value = var.nothing\n}', "undeclared input variable"),
    ],
)
def test_what_is_wrong_would_be_found(terraform: Terraform, line: str, words: str) -> None:
    extra = terraform.directory / "extra.tf"
    extra.write_text(line + "\n")
    try:
        code, out, err = terraform.attempt("validate", "-no-color")
    finally:
        extra.unlink()
    assert code == 1
    assert words in out + err


# -- apps -----------------------------------------------------------------------------------------------------------


def test_jupyter_has_the_same_prefix_in_its_address_its_health_check_and_its_own_base(planned: Planner) -> None:
    plan = planned()
    jupyter = plan["coder_app.jupyter[0]"]
    assert jupyter["url"] == f"http://localhost:8888{PREFIX}"
    (check,) = jupyter["healthcheck"]
    assert check["url"] == f"http://localhost:8888{PREFIX}/api"
    assert plan["coder_agent.main"]["env"]["JUPYTER_PREFIX"] == PREFIX


def test_vs_code_has_none(planned: Planner) -> None:
    code = planned()["coder_app.code_server[0]"]
    assert code["url"] == "http://localhost:13337/?folder=/home/coder"
    (check,) = code["healthcheck"]
    assert check["url"] == "http://localhost:13337/healthz"


def test_apps_that_are_paths_are_not_shared(planned: Planner) -> None:
    plan = planned(choices={"sharing": "authenticated"})
    for app in ("coder_app.jupyter[0]", "coder_app.code_server[0]"):
        assert (plan[app]["subdomain"], plan[app]["share"]) == (False, "owner")


def test_apps_with_names_of_their_own_are_shared_if_the_owner_says_so_and_have_no_prefix(planned: Planner) -> None:
    assert planned(subdomain_apps="true")["coder_app.jupyter[0]"]["share"] == "owner"
    plan = planned(subdomain_apps="true", choices={"sharing": "authenticated"})
    jupyter = plan["coder_app.jupyter[0]"]
    assert (jupyter["subdomain"], jupyter["share"]) == (True, "authenticated")
    assert jupyter["url"] == "http://localhost:8888"
    assert plan["coder_agent.main"]["env"]["JUPYTER_PREFIX"] == ""


# -- the container --------------------------------------------------------------------------------------------------


def test_the_home_is_a_volume_of_the_workspace_that_nothing_makes_anew(planned: Planner, terraform: Terraform) -> None:
    plan = planned()
    (mount,) = (mount for mount in plan[CONTAINER]["volumes"] if mount["volume_name"] == "coder-w1-home")
    assert (mount["container_path"], mount["read_only"]) == ("/home/coder", None)
    assert plan["docker_volume.home"]["name"] == "coder-w1-home"
    assert "ignore_changes = all" in (TEMPLATE / "main.tf").read_text()


def test_it_reads_the_volume_with_the_credentials_of_its_person(planned: Planner) -> None:
    (mount,) = (mount for mount in planned()[CONTAINER]["volumes"] if mount["volume_name"] != "coder-w1-home")
    assert mount["volume_name"] == "coder-mlops-credentials-ana"
    assert (mount["container_path"], mount["read_only"]) == ("/run/platform", True)


def test_it_joins_the_networks_it_is_told(planned: Planner) -> None:
    two = planned(networks="one, two")[CONTAINER]["networks_advanced"]
    assert {network["name"] for network in two} == {"one", "two"}


def test_it_comes_back_after_a_reboot_and_has_no_privileges(planned: Planner) -> None:
    container = planned()[CONTAINER]
    assert container["restart"] == "unless-stopped"
    assert not container["privileged"]
    assert container["capabilities"] == [{"add": None, "drop": ["ALL"]}]
    assert container["security_opts"] == ["no-new-privileges:true"]
    assert not container["mounts"] and not container["ports"] and not container["devices"]


def test_what_a_person_chooses(planned: Planner) -> None:
    default = planned()[CONTAINER]
    assert (default["image"], default["cpus"], default["memory"]) == (IMAGE, "2", 4096)
    chosen = planned(images="a:1, b:2", gpu="true", choices={"image": "b:2", "cpus": "3", "memory": "6", "gpu": "all"})[
        CONTAINER
    ]
    assert (chosen["image"], chosen["cpus"], chosen["memory"], chosen["gpus"]) == ("b:2", "3", 6144, "all")


def test_gpus_are_offered_only_where_there_are_some(planned: Planner) -> None:
    assert planned(choices={"gpu": "all"})[CONTAINER]["gpus"] is None


def test_a_small_machine_has_small_defaults(planned: Planner) -> None:
    container = planned(max_cpus="1", max_memory_gb="2")[CONTAINER]
    assert (container["cpus"], container["memory"]) == ("1", 2048)


def test_a_stopped_workspace_keeps_its_home_and_runs_nothing(planned: Planner) -> None:
    stopped = planned(data={"coder_workspace": {"start_count": 0}})
    assert sorted(stopped.resources) == ["coder_agent.main", "docker_volume.home"]


# -- what the workspace is told -------------------------------------------------------------------------------------


def test_the_services_are_at_hand(planned: Planner) -> None:
    env = planned(mlflow_url="http://mlflow:5001")["coder_agent.main"]["env"]
    assert env["MLFLOW_TRACKING_URI"] == "http://mlflow:5001"
    assert env["WAREHOUSE_HOST"] == "postgres"
    assert env["SERVING_URL"].startswith("http://serving:")
    assert (env["GIT_AUTHOR_NAME"], env["GIT_COMMITTER_EMAIL"]) == ("ana", "ana@example.com")


def test_credentials_reach_the_agent_and_no_log(planned: Planner) -> None:
    credentials = json.dumps({"MLFLOW_TRACKING_PASSWORD": "very-secret"})
    plan = planned(choices={"credentials": credentials})
    assert plan["coder_agent.main"]["env"]["PLATFORM_CREDENTIALS"] == credentials
    assert "very-secret" not in plan.text
    assert "(sensitive value)" in plan.text
    assert plan.outputs == {}


def test_no_person_is_asked_for_a_secret_that_coder_keeps() -> None:
    parameters = (TEMPLATE / "parameters.tf").read_text()
    block = parameters[parameters.index('data "coder_parameter" "credentials"') :]
    assert "ephemeral    = true" in block
    assert "mask_input = true" in block


def test_metadata_and_the_message_of_the_day(planned: Planner) -> None:
    agent = planned()["coder_agent.main"]
    assert [entry["key"] for entry in agent["metadata"]] == ["cpu", "memory", "disk"]
    assert agent["motd_file"] == "/home/coder/.config/platform/motd"
    (display,) = agent["display_apps"]
    assert display["web_terminal"]


@pytest.mark.parametrize(
    ("agent_url", "told"), [("http://coder:7080", "http://coder:7080"), ("", "https://coder.example.com")]
)
def test_the_agent_takes_the_short_way_to_coder(terraform: Terraform, agent_url: str, told: str) -> None:
    script = "curl -fsSL https://coder.example.com/bin/coder-linux-amd64 && CODER_AGENT_URL=https://coder.example.com/"
    data: dict[str, Any] = {"coder_agent": {"init_script": script, "token": "t0ken"}}
    state = f"-state={'short' if agent_url else 'long'}.tfstate"
    terraform.run(
        "apply",
        "-auto-approve",
        "-input=false",
        state,
        f"-var=agent_url={agent_url}",
        f"-var=images={IMAGE}",
        data=data,
    )
    made = json.loads(terraform.run("show", "-json", state.removeprefix("-state="), data=data))
    resources = {entry["address"]: entry["values"] for entry in made["values"]["root_module"]["resources"]}
    container = resources[CONTAINER]
    assert container["entrypoint"] == ["sh", "-c", script.replace("https://coder.example.com", told)]
    assert container["env"] == ["CODER_AGENT_TOKEN=t0ken"]
