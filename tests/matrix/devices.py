# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices of the matrix: how QEMU gets each, and how the guest uses it."""

from dataclasses import dataclass

DISK = ("-drive", "file={host.disk_path},format=raw,if=none,id={name},"
        "snapshot=on")
LINE = ("-chardev", "socket,id={name},path={host.line_path}")


@dataclass(frozen=True)
class Device:
    """One column of the table.

    @options are QEMU's, in which {name} is the device's own name, {net} a
    number of its own and {host} the Host; @modules are the kernel's; @word is what the
    "exercise" program is told.  @check, a method of checks.After, looks at
    the device from outside, before and after.  @refused: what the device is
    called when the machine refuses to be saved because of it.  @needs: a
    program of the host without which it cannot be tried.
    """
    name: str
    options: tuple = ()
    modules: tuple = ()
    word: str = ""
    check: str = ""
    refused: str = ""
    needs: str = ""


def disk(name, options, driver, *modules):
    """A disk with a back end of its own."""
    return Device(name, DISK + options, modules + ("sd_mod",),
                  f"disk:{driver}:rw")


def network(name, model, driver):
    """A network card with a user-mode network of its own."""
    return Device(name, (
        "-netdev", "user,id={name},net=10.0.{net}.0/24",
        "-device", f"{model},netdev={{name}}"), (driver,),
        f"network:{driver}:{{net}},{{host.port}}")


def tpm(name):
    """The interface of a TPM, which is a process of its own."""
    return Device(name, (
        "-chardev", "socket,id={name}-control,path={host.tpm_path}",
        "-tpmdev", "emulator,id={name}-back,chardev={name}-control",
        "-device", f"{name},tpmdev={{name}}-back"), refused=name,
        needs="swtpm")


DEVICES = {device.name: device for device in (
    Device("timer", word="clock"),
    Device("time", word="time"),
    # virtio
    disk("virtio-blk", ("-device", "virtio-blk-pci,drive={name}"),
         "virtio_blk"),
    network("virtio-net", "virtio-net-pci", "virtio_net"),
    Device("virtio-rng", ("-device", "virtio-rng-pci"), (),
           "random:virtio_rng"),
    Device("virtio-serial", LINE + (
        "-device", "virtio-serial-pci",
        "-device", "virtserialport,chardev={name},name=echo"), (),
        "line:virtio_console:virtio-ports,vport"),
    Device("virtio-balloon", ("-device", "virtio-balloon-pci,id={name}"),
           ("virtio_balloon",), check="balloon"),
    disk("virtio-scsi", (
        "-device", "virtio-scsi-pci,id={name}-bus",
        "-device", "scsi-hd,bus={name}-bus.0,drive={name}"), "virtio_scsi",
        "virtio_scsi"),
    Device("virtio-gpu", ("-device", "virtio-gpu-pci"), ("virtio_gpu",),
           "screen:virtio-pci", "screen"),
    # PCI cards
    network("e1000", "e1000", "e1000"),
    network("e1000e", "e1000e", "e1000e"),
    network("rtl8139", "rtl8139", "8139cp"),
    disk("ahci", ("-device", "ich9-ahci,id={name}-bus", "-device",
                  "ide-hd,bus={name}-bus.0,drive={name}"), "ahci", "ahci"),
    Device("xhci-keyboard", (
        "-device", "qemu-xhci,id=xhci", "-device", "usb-kbd,bus=xhci.0"),
        ("xhci_pci", "usbhid", "hid_generic", "evdev"), "leds:usbhid", "keys"),
    disk("xhci-storage", ("-device", "qemu-xhci,id={name}-bus", "-device",
                          "usb-storage,bus={name}-bus.0,drive={name}"),
         "usb-storage", "xhci_pci", "usb_storage"),
    Device("vga", ("-device", "VGA"), ("bochs",), "screen:bochs-drm",
           "screen"),
    Device("pvpanic", ("-device", "pvpanic-pci"), (),
           "register:1b36:0011,7", "crash"),
    # what a PC has
    disk("ide", ("-device", "ide-hd,bus=ide.0,drive={name}"), "ata_piix",
         "ata_piix"),
    Device("serial", LINE + ("-device", "isa-serial,chardev={name}"), (),
           "line:serial:tty,ttyS1"),
    Device("rtc", word="rtc:rtc_cmos"),
    Device("hpet", word="clock:hpet"),
    Device("i8042", (), ("atkbd", "evdev"), "leds:atkbd", "keys"),
    # what Arm's virt has
    Device("pl031", word="rtc:rtc-pl031"),
    # what cannot be saved
    Device("edu", ("-device", "edu"), refused="edu"),
    Device("nvme", DISK + ("-device", "nvme,drive={name},serial=1"),
           refused="nvme"),
    tpm("tpm-tis"),
    tpm("tpm-tis-device"),
)}

VIRTIO = ("timer", "virtio-blk", "virtio-net", "virtio-rng", "virtio-serial",
          "virtio-balloon", "virtio-scsi", "virtio-gpu")
CARDS = ("timer", "e1000", "e1000e", "rtl8139", "ahci", "xhci-keyboard",
         "xhci-storage", "vga", "pvpanic")
BOARD = ("serial", "rtc", "hpet", "i8042")
REFUSED = ("edu", "nvme", "tpm-tis")
REFUSED_ARM = ("edu", "nvme", "tpm-tis-device")
