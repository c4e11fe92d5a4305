# The cloud image: boots the base in QEMU, installs microblog over SSH.
#
# build.py fills in the variables. By hand, with a base image and a .deb at hand:
#   packer build -var base=... -var base_checksum=... -var http=... -var pool=... -var output=... packer/
# where http/ holds seed/user-data and seed/meta-data.

variable "base" {
  type        = string
  description = "The base image, a qcow2 file."
}

variable "base_checksum" {
  type        = string
  description = "Its checksum, as sha256:HEX."
}

variable "disk_size" {
  type        = string
  description = "Of the base's disk, which the image keeps: the machine that it becomes grows it."
}

variable "output" {
  type        = string
  description = "The directory to write the image to; must not exist."
}

variable "http" {
  type        = string
  description = "The directory that the machine under construction may read over HTTP."
}

variable "pool" {
  type        = string
  description = "A disk image labelled pool: a flat apt repository of all that is installed."
}

variable "ssh_key" {
  type        = string
  description = "The private key whose public half is in seed/user-data."
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

variable "keep_failed" {
  type        = bool
  description = "After a script that failed, wait: somebody wants to look."
  default     = false
}

variable "qemu" {
  type        = string
  description = "The emulator."
  default     = "qemu-system-x86_64"
}

variable "machine" {
  type        = string
  description = "QEMU's board: that of the base's architecture."
  default     = "q35"
}

variable "cpu" {
  type    = string
  default = "max"
}

variable "firmware" {
  type        = string
  description = "What starts the disk, where the board has none of its own."
  default     = ""
}

variable "accelerator" {
  type    = string
  default = "tcg"
  validation {
    condition     = contains(["tcg", "kvm"], var.accelerator)
    error_message = "The accelerator must be tcg or kvm."
  }
}

variable "accelerator_options" {
  type        = string
  description = "What follows the accelerator's name in QEMU's -accel."
  default     = ",thread=multi,tb-size=1024"
}

variable "cpus" {
  type    = number
  default = 2
}

variable "memory_mb" {
  type    = number
  default = 2048
}

source "qemu" "cloud" {
  # The base stays as it is; what the bake changes goes into an overlay.
  iso_url          = var.base
  iso_checksum     = var.base_checksum
  disk_image       = true
  use_backing_file = true
  skip_compaction  = true
  disk_size        = var.disk_size
  skip_resize_disk = true
  format           = "qcow2"
  # QEMU 6.1 and newer want the backing file's format named; Packer 1.6 leaves it out.
  qemu_img_args {
    create = ["-F", "qcow2"]
  }
  output_directory = var.output
  vm_name          = "image.qcow2"

  qemu_binary    = var.qemu
  accelerator    = var.accelerator
  headless       = true
  disk_interface = "virtio"
  disk_cache     = "unsafe"
  net_device     = "virtio-net"
  qemuargs = concat([for file in compact([var.firmware]) : ["-bios", file]], [
    ["-machine", "${var.machine}"],
    ["-accel", "${var.accelerator}${var.accelerator_options}"],
    ["-cpu", "${var.cpu}"],
    ["-smp", "${var.cpus}"],
    ["-m", "${var.memory_mb}"],
    ["-device", "virtio-net,netdev=user.0"],
    ["-device", "virtio-rng-pci"],
    ["-blockdev", "driver=raw,node-name=pool,read-only=on,file.driver=file,file.filename=${var.pool}"],
    # Last on the bus: the BIOS boots from the first disk that it finds.
    ["-device", "virtio-blk-pci,drive=pool,addr=0x1e"],
    # Packer's own forward listens on every address.
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
    ["-serial", "file:${var.output}.console"],
    # No CD drive: a cloud kernel has no driver for one.
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/seed/"],
  ])

  http_directory       = var.http
  communicator         = "ssh"
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_key
  ssh_timeout          = "30m"
  boot_wait            = "1s"

  # The file systems are brought in order, kept so, and the power goes off: an orderly shutdown would
  # write a random seed, a login record and a journal into the image.
  shutdown_command = "umount --quiet /boot/efi /boot; sync; fsfreeze --freeze / && echo o > /proc/sysrq-trigger"
  shutdown_timeout = "10m"
}

build {
  sources = ["source.qemu.cloud"]

  # What they lay down, as FILES.
  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/run"
  }

  # One script of them all: each one uploaded and run by itself costs seconds under emulation.
  provisioner "shell" {
    inline           = [for script in var.provision : file("${path.root}/provision/${script}")]
    inline_shebang   = "/bin/sh -eu"
    environment_vars = ["PACKAGES=${join(" ", var.packages)}", "FILES=/run/files"]
    execute_command  = "{{ .Vars }} sh {{ .Path }}${var.keep_failed ? " || { echo 'phase: kept'; sleep infinity; }" : ""}"
    remote_folder    = "/run"
    skip_clean       = true
  }

  provisioner "file" {
    direction   = "download"
    source      = "/run/packages"
    destination = "${var.output}.packages"
  }
}
