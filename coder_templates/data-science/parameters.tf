# What a person chooses for a workspace.

locals {
  images = [for image in split(",", var.images) : trimspace(image)]
}

data "coder_parameter" "image" {
  name         = "image"
  display_name = "Image"
  description  = "What is installed. A change takes effect at the next start; the home stays."
  type         = "string"
  default      = local.images[0]
  mutable      = true
  order        = 1

  dynamic "option" {
    for_each = local.images
    content {
      name  = option.value
      value = option.value
    }
  }
}

data "coder_parameter" "cpus" {
  name         = "cpus"
  display_name = "CPUs"
  type         = "number"
  default      = tostring(min(2, var.max_cpus))
  mutable      = true
  order        = 2

  validation {
    min = 1
    max = var.max_cpus
  }
}

data "coder_parameter" "memory" {
  name         = "memory"
  display_name = "Memory (GB)"
  description  = "What needs more is killed: a kernel that restarts by itself needed more."
  type         = "number"
  default      = tostring(min(4, var.max_memory_gb))
  mutable      = true
  order        = 3

  validation {
    min = 1
    max = var.max_memory_gb
  }
}

data "coder_parameter" "gpu" {
  count        = var.gpu ? 1 : 0
  name         = "gpu"
  display_name = "GPU"
  type         = "string"
  default      = "none"
  mutable      = true
  order        = 4

  option {
    name  = "None"
    value = "none"
  }
  option {
    name  = "All of the machine"
    value = "all"
  }
}

data "coder_parameter" "git_repository" {
  name         = "git_repository"
  display_name = "Git repository"
  description  = "Cloned into the home at the first start (https:// or git@…). Empty: none."
  type         = "string"
  default      = ""
  mutable      = true
  order        = 5
}

data "coder_parameter" "dotfiles" {
  name         = "dotfiles"
  display_name = "Dotfiles repository"
  description  = "Your own settings, applied at every start. Empty: none."
  type         = "string"
  default      = ""
  mutable      = true
  order        = 6
}

data "coder_parameter" "sharing" {
  count        = var.subdomain_apps ? 1 : 0
  name         = "sharing"
  display_name = "Who may open JupyterLab and VS Code"
  description  = "Whoever may, works as you: with your files, and with what you may read and write."
  type         = "string"
  default      = "owner"
  mutable      = true
  order        = 7

  option {
    name  = "Only me"
    value = "owner"
  }
  option {
    name  = "Everyone who is signed in"
    value = "authenticated"
  }
}

# Only for a Coder that is no part of the platform's stack, so that there is no volume with them (main.tf): given when the
# platform makes the workspace or renews what is in it; kept in the home by startup.sh, so a later start without it finds
# the last one. Ephemeral: Coder forgets it after the build that it was given to.
data "coder_parameter" "credentials" {
  name         = "credentials"
  display_name = "Credentials"
  description  = "Filled in by the platform. Leave it as it is."
  type         = "string"
  default      = "{}"
  mutable      = true
  ephemeral    = true
  form_type    = "input"
  styling      = jsonencode({ mask_input = true })
  order        = 8
}
