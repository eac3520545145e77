# A workspace for data work: JupyterLab, VS Code and a terminal in one container, with the platform's services at hand.
# Pushed by `platform coder apply`, which gives the variables below their values. README.md says how it is used.
terraform {
  required_providers {
    coder  = { source = "coder/coder", version = "~> 2.13" }
    docker = { source = "kreuzwerker/docker", version = "~> 4.5" }
  }
}

provider "docker" {
  host = var.docker_host
}

data "coder_provisioner" "me" {}
data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}

locals {
  home  = "/home/coder"
  owner = data.coder_workspace_owner.me.name
  name  = data.coder_workspace.me.name

  # Coder takes the path of an app off a request and puts the path of the app's URL before the rest. JupyterLab makes
  # its links from its own base path, so the two must be the same; VS Code's links are relative and need none.
  jupyter_prefix = var.subdomain_apps ? "" : "/@${local.owner}/${local.name}/apps/jupyter"

  # Apps that are paths of one address can read each other's cookies: Coder lets only names of their own be shared.
  share = try(data.coder_parameter.sharing[0].value, "owner")

  # The agent's script finds Coder at its public address; from a workspace there is a shorter and surer way.
  init_script = (
    var.agent_url == "" ? coder_agent.main.init_script : replace(
      coder_agent.main.init_script, trimsuffix(data.coder_workspace.me.access_url, "/"), trimsuffix(var.agent_url, "/")
    )
  )
}

resource "coder_agent" "main" {
  arch               = data.coder_provisioner.me.arch
  os                 = "linux"
  dir                = local.home
  motd_file          = "${local.home}/.config/platform/motd"
  startup_script     = file("${path.module}/startup.sh")
  connection_timeout = 180

  env = {
    JUPYTER_PREFIX       = local.jupyter_prefix
    GIT_REPOSITORY       = data.coder_parameter.git_repository.value
    DOTFILES_REPOSITORY  = data.coder_parameter.dotfiles.value
    PLATFORM_CREDENTIALS = sensitive(data.coder_parameter.credentials.value)

    GIT_AUTHOR_NAME     = coalesce(data.coder_workspace_owner.me.full_name, local.owner)
    GIT_AUTHOR_EMAIL    = data.coder_workspace_owner.me.email
    GIT_COMMITTER_NAME  = coalesce(data.coder_workspace_owner.me.full_name, local.owner)
    GIT_COMMITTER_EMAIL = data.coder_workspace_owner.me.email

    MLFLOW_TRACKING_URI = var.mlflow_url
    SERVING_URL         = var.serving_url
    WAREHOUSE_HOST      = var.warehouse_host
    WAREHOUSE_PORT      = tostring(var.warehouse_port)
    WAREHOUSE_DATABASE  = var.warehouse_database

    MLFLOW_DISABLE_TELEMETRY = "true"
    DO_NOT_TRACK             = "1"
  }

  display_apps {
    web_terminal           = true
    ssh_helper             = true
    port_forwarding_helper = true
    vscode                 = true
    vscode_insiders        = false
  }

  metadata {
    key          = "cpu"
    display_name = "CPU"
    script       = "coder stat cpu"
    interval     = 10
    timeout      = 5
    order        = 1
  }
  metadata {
    key          = "memory"
    display_name = "Memory"
    script       = "coder stat mem"
    interval     = 10
    timeout      = 5
    order        = 2
  }
  metadata {
    key          = "disk"
    display_name = "Home's disk"
    script       = "coder stat disk --path ${local.home}"
    interval     = 60
    timeout      = 5
    order        = 3
  }
}

resource "coder_app" "jupyter" {
  count        = data.coder_workspace.me.start_count
  agent_id     = coder_agent.main.id
  slug         = "jupyter"
  display_name = "JupyterLab"
  icon         = "/icon/jupyter.svg"
  url          = "http://localhost:8888${local.jupyter_prefix}"
  subdomain    = var.subdomain_apps
  share        = local.share
  order        = 1

  healthcheck {
    url       = "http://localhost:8888${local.jupyter_prefix}/api"
    interval  = 5
    threshold = 12
  }
}

resource "coder_app" "code_server" {
  count        = data.coder_workspace.me.start_count
  agent_id     = coder_agent.main.id
  slug         = "code-server"
  display_name = "VS Code"
  icon         = "/icon/code.svg"
  url          = "http://localhost:13337/?folder=${local.home}"
  subdomain    = var.subdomain_apps
  share        = local.share
  order        = 2

  healthcheck {
    url       = "http://localhost:13337/healthz"
    interval  = 5
    threshold = 12
  }
}

# All that lasts. It goes with the workspace, and with nothing else: no change of this file makes it anew.
resource "docker_volume" "home" {
  name = "coder-${data.coder_workspace.me.id}-home"

  labels {
    label = "coder.workspace_id"
    value = data.coder_workspace.me.id
  }
  labels {
    label = "coder.owner"
    value = local.owner
  }

  lifecycle {
    ignore_changes = all
  }
}

resource "docker_container" "workspace" {
  count                 = data.coder_workspace.me.start_count
  name                  = "coder-${local.owner}-${lower(local.name)}"
  hostname              = lower(local.name)
  image                 = data.coder_parameter.image.value
  entrypoint            = ["sh", "-c", local.init_script]
  env                   = ["CODER_AGENT_TOKEN=${coder_agent.main.token}"]
  cpus                  = tostring(data.coder_parameter.cpus.value)
  memory                = tonumber(data.coder_parameter.memory.value) * 1024
  shm_size              = 512
  gpus                  = try(data.coder_parameter.gpu[0].value, "none") == "all" ? "all" : null
  init                  = true
  restart               = "unless-stopped"
  destroy_grace_seconds = 10
  security_opts         = ["no-new-privileges:true"]
  log_opts              = { "max-size" = "10m", "max-file" = "3" }

  capabilities {
    drop = ["ALL"]
  }

  volumes {
    volume_name    = docker_volume.home.name
    container_path = local.home
  }

  # Filled by the platform, for all workspaces of a person. The engine makes it where it is not there yet.
  volumes {
    volume_name    = "${var.credentials_volumes}${local.owner}"
    container_path = "/run/platform"
    read_only      = true
  }

  dynamic "networks_advanced" {
    for_each = toset(split(",", var.networks))
    content {
      name = trimspace(networks_advanced.value)
    }
  }

  labels {
    label = "coder.workspace_id"
    value = data.coder_workspace.me.id
  }
  labels {
    label = "coder.owner"
    value = local.owner
  }
}

resource "coder_metadata" "workspace" {
  count       = data.coder_workspace.me.start_count
  resource_id = docker_container.workspace[0].id
  icon        = "/icon/docker.png"

  item {
    key   = "image"
    value = data.coder_parameter.image.value
  }
  item {
    key   = "limits"
    value = "${data.coder_parameter.cpus.value} CPUs, ${data.coder_parameter.memory.value} GB"
  }
}
