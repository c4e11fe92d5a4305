# The Raspberry Pi's image: installs microblog into the base's file systems, in a chroot.
#
# build.py fills in the variables, and makes the SD card's image of the result. As root.

variable "disk" {
  type        = string
  description = "The base, a raw disk; it is changed."
}

variable "offset" {
  type        = number
  description = "Where its root file system begins, in bytes."
}

variable "size" {
  type        = number
  description = "How long that is, in bytes."
}

variable "firmware" {
  type        = string
  description = "A directory with the boot partition's files; it is changed."
}

variable "pool" {
  type        = string
  description = "A directory that is a flat apt repository of all that is installed."
}

variable "output" {
  type        = string
  description = "The list of installed packages is written there, with .packages at its end."
}

variable "packages" {
  type        = list(string)
  description = "What to install: microblog, and what its image has beside it."
  default     = []
}

variable "provision" {
  type        = list(string)
  description = "The scripts under provision/, in order."
}

variable "qemu_cpu" {
  type        = string
  description = "The processor that qemu-user plays."
  default     = "cortex-a72"
}

variable "keep_failed" {
  type        = bool
  description = "After a script that failed, wait: somebody wants to look."
  default     = false
}

source "null" "pi" {
  communicator = "none"
}

build {
  sources = ["source.null.pi"]

  provisioner "shell-local" {
    script = "${path.root}/chroot.sh"
    # Its path may have spaces in it.
    execute_command = ["/bin/sh", "-c", "{{.Vars}} sh \"{{.Script}}\""]
    environment_vars = [
      "DISK=${var.disk}",
      "OFFSET=${var.offset}",
      "SIZE=${var.size}",
      "FIRMWARE=${var.firmware}",
      "POOL=${var.pool}",
      "OUTPUT=${var.output}",
      "PACKAGES=${join(" ", var.packages)}",
      "PROVISION=${path.root}/provision",
      "FILES=${path.root}/files",
      "SCRIPTS=${join(" ", var.provision)}",
      "QEMU_CPU=${var.qemu_cpu}",
      "KEEP_FAILED=${var.keep_failed ? "yes" : ""}",
    ]
  }
}
