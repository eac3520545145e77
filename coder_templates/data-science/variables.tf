# What the owner of the platform sets, the same for every workspace. `platform coder apply` fills these in from the
# platform's settings. Addresses only: no variable here is a secret.

variable "docker_host" {
  type        = string
  description = "The container engine, as Coder reaches it."
  default     = "tcp://docker-socket-proxy:2375"
}

variable "networks" {
  type        = string
  description = "The networks that a workspace joins, separated by commas."
  default     = "mlops-workspaces,mlops_people"
}

variable "credentials_volumes" {
  type        = string
  description = "What the names of the volumes with people's credentials begin with; the owner's name follows."
  default     = "coder-mlops-credentials-"
}

variable "agent_url" {
  type        = string
  description = "Coder's address inside these networks; empty: its public address."
  default     = ""
}

variable "subdomain_apps" {
  type        = bool
  description = "Whether apps have names of their own (CODER_WILDCARD_ACCESS_URL): only then can they be shared."
  default     = false
}

variable "images" {
  type        = string
  description = "The images that people choose from, separated by commas; the first is the default."
}

variable "max_cpus" {
  type    = number
  default = 4
}

variable "max_memory_gb" {
  type    = number
  default = 8
}

variable "gpu" {
  type        = bool
  description = "Whether the machine has GPUs that containers can use."
  default     = false
}

variable "mlflow_url" {
  type    = string
  default = "http://mlflow:5000"
}

variable "serving_url" {
  type    = string
  default = "http://serving:8000"
}

variable "warehouse_host" {
  type    = string
  default = "postgres"
}

variable "warehouse_port" {
  type    = number
  default = 5432
}

variable "warehouse_database" {
  type    = string
  default = "warehouse"
}
