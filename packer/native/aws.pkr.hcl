# A snapshot made in AWS itself, on its own Ubuntu 22.04. build.py fills in the variables.

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

source "amazon-ebs" "cloud" {
  # Credentials are what the environment has: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
  region        = var.region
  instance_type = "t3.micro"
  ssh_username  = "ubuntu"
  ami_name      = var.name
  ena_support   = true
  source_ami_filter {
    filters = {
      name                = "ubuntu/images/*ubuntu-jammy-22.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    # Canonical's account.
    owners      = ["099720109477"]
    most_recent = true
  }
}

build {
  sources = ["source.amazon-ebs.cloud"]

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
    execute_command  = "sudo env {{ .Vars }} sh {{ .Path }}"
    skip_clean       = true
  }
}
