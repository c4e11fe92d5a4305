# A snapshot made in Linode itself, on its own Ubuntu 22.04. build.py fills in the variables.

variable "name" {
  type        = string
  description = "What the snapshot is called, unlike any other."
}

variable "region" {
  type = string
}

variable "deb" {
  type        = string
  description = "The package's file."
}

variable "packages" {
  type        = list(string)
  description = "What to install beside microblog."
  default     = []
}

variable "provision" {
  type        = list(string)
  description = "The scripts under provision/, in order."
}

variable "token" {
  type      = string
  default   = ""
  sensitive = true
}

source "linode" "cloud" {
  linode_token      = var.token
  region            = var.region
  image             = "linode/ubuntu22.04"
  instance_type     = "g6-nanode-1"
  ssh_username      = "root"
  image_label       = var.name
  image_description = "Microblog"
}

build {
  sources = ["source.linode.cloud"]

  # A new server's own first updates hold apt's lock for some minutes.
  provisioner "shell" {
    inline = ["cloud-init status --wait > /dev/null || true"]
  }

  provisioner "file" {
    source      = var.deb
    destination = "/tmp/microblog.deb"
  }

  # What the scripts lay down, as FILES.
  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/tmp"
  }

  provisioner "shell" {
    inline           = [for script in var.provision : file("${path.root}/provision/${script}")]
    inline_shebang   = "/bin/sh -eu"
    environment_vars = ["PACKAGES=${join(" ", var.packages)}", "FILES=/tmp/files"]
    execute_command  = "{{ .Vars }} sh {{ .Path }}"
    skip_clean       = true
  }
}
