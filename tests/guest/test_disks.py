#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks go back with the machine: a Linux guest with ext4 on disks of several
kinds, every restore verified by QEMU, by checksums in the guest and by e2fsck.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from tap import Skip, Tap, equal
from vm import QEMU, VMError, boot_linux

SIZE = 24 << 20
FILES = 40                      # on each disk

# How disks are attached, and the format of their images
DISKS = {
    "pc": (
        ("virtio", "raw", ("virtio-blk-pci,drive={}",)),
        ("scsi", "qcow2", ("virtio-scsi-pci", "scsi-hd,drive={}")),
        ("ide", "raw", ("ide-hd,drive={}",)),
    ),
    "q35": (
        ("virtio", "qcow2", ("virtio-blk-pci,drive={},iothread=io",)),
        ("scsi", "raw", ("virtio-scsi-pci,iothread=io", "scsi-hd,drive={}")),
        ("ahci", "qcow2", ("ide-hd,drive={},bus=ide.1",)),
    ),
}

SETUP = """
modprobe -a sd_mod crc32c_generic ext4 || exit 1
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    for dev in $(cd /sys/block; ls -d vd* sd* 2>/dev/null); do
        label=$(dd if=/dev/$dev bs=1 skip=1144 count=16 2>/dev/null | tr -d '\\0')
        [ -z "$label" ] || [ -d /mnt/$label ] || {
            mkdir -p /mnt/$label && echo /dev/$dev >/mnt/$label.dev; }
    done
    [ $(ls -d /mnt/*.dev | wc -l) -lt %d ] || break
    sleep 1
done
mount_all() {
    for dev in /mnt/*.dev; do
        mount -t ext4 $(cat $dev) ${dev%%.dev} || return 1
    done
}
checksums() {
    sync; echo 3 >/proc/sys/vm/drop_caches
    find /mnt -type f | sort | xargs sha256sum
    df -k /mnt/*/ | awk '{ print $3, $6 }'
}
spoil() {
    for dir in /mnt/*/; do
        rm $dir/file-1* && mv $dir/file-20 $dir/renamed &&
        dd if=/dev/urandom of=$dir/new-$1 bs=4k count=500 2>/dev/null &&
        echo $1 >>$dir/file-30 && mkdir $dir/dir-$1 || return 1
        [ $(($1 %% 3)) != 0 ] || fstrim $dir 2>/dev/null
    done
    sync
}
churn() {
    while :; do
        dd if=/dev/urandom of=$1/churn bs=64k count=40 conv=fsync 2>/dev/null
        rm $1/churn; echo x >>$1/file-31; sync
    done
}
"""


def tool(name):
    """Return the path of a program of the host, or skip the check."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not path:
        raise Skip(f"{name} (e2fsprogs) is not installed on the host")
    return path


def qemu_img(*args):
    """Run the qemu-img that was built along with QEMU."""
    program = os.path.join(os.path.dirname(os.path.realpath(QEMU)), "qemu-img")
    subprocess.run([program, *args], check=True)


class Disk:
    """An image with an ext4 file system, and how QEMU shall attach it."""

    def __init__(self, work, name, image_format, devices):
        self.name = name
        self._format = image_format
        self._devices = devices
        self._raw = os.path.join(work, name + ".raw")
        self.path = os.path.join(work, f"{name}.{image_format}")
        with open(self._raw, "wb") as file:
            file.truncate(SIZE)
        subprocess.run([tool("mkfs.ext4"), "-q", "-L", name, "-J", "size=4",
                        self._raw], check=True)
        if image_format != "raw":
            qemu_img("convert", "-O", image_format, self._raw, self.path)

    def options(self):
        """QEMU's options."""
        result = ["-drive", f"if=none,id={self.name},format={self._format},"
                  f"file={self.path},discard=unmap"]
        for device in self._devices:
            result += ["-device", device.format(self.name)]
        return result

    def checksum(self):
        """Of the image file."""
        with open(self.path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def fsck(self):
        """Look at the file system in the image, which is not in use."""
        if self._format != "raw":
            qemu_img("convert", "-U", "-O", "raw", self.path, self._raw)
        done = subprocess.run([tool("e2fsck"), "-f", "-n", self._raw],
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise AssertionError(f"{self.name}: {done.stdout}")


def verified(vm):
    """Every restore was exact."""
    query = vm.qmp("x-snapshot-device-query")
    equal("verify failures", query["verify-failures"], 0)
    return query


def check_setup(vm, disks):
    """Each disk gets a file system with files on it."""
    vm.must(SETUP % len(disks))
    equal("disks", vm.must("ls -d /mnt/*.dev").splitlines(),
          sorted(f"/mnt/{disk.name}.dev" for disk in disks))
    vm.must(f"mount_all && for dir in /mnt/*/; do for i in $(seq {FILES}); do "
            "dd if=/dev/urandom of=$dir/file-$i bs=1k count=$((i * 3)) "
            "2>/dev/null || exit 1; done; done; sync")


def check_written(vm, disks, expected):
    """A discard writes what the disks hold: sound file systems, as expected."""
    vm.must("umount /mnt/*/")
    vm.qmp("x-snapshot-device-discard")
    for disk in disks:
        disk.fsck()
    vm.must("mount_all")
    equal("checksums after a mount", vm.must("checksums"), expected)


def check_revert(vm, disks, rounds):
    """Files come back, images do not change, and all is written at last."""
    before = vm.must("checksums")
    vm.qmp("x-snapshot-device-save")
    images = [disk.checksum() for disk in disks]
    for count in range(rounds):
        vm.must(f"spoil {count}")
        if count % 4 == 0 and vm.must("checksums") == before:
            raise AssertionError("nothing has changed")
        vm.qmp("x-snapshot-device-restore")
        query = verified(vm)
        taken = {disk["disk"]: disk["clusters-last"]
                 for disk in query["disks"]}
        for disk in disks:
            # 2 MB are 500 clusters.
            if taken[disk.name] < 500:
                raise AssertionError(f"taken back: {taken}")
        equal("checksums", vm.must("checksums"), before)
    equal("images", [disk.checksum() for disk in disks], images)
    check_written(vm, disks, before)


def check_from_inside(vm, disks):
    """The guest saves, restores and discards by itself."""
    before = vm.must("checksums")
    equal("checksums", vm.must(
        "for run in 1 2 3; do snapctl save >/dev/null; [ $? = 0 ] || break; "
        "spoil $run || exit 1; snapctl restore; done; checksums"), before)
    equal("restores", verified(vm)["restores"], 1)
    images = [disk.checksum() for disk in disks]
    vm.must("umount /mnt/*/; snapctl discard")
    for disk, image in zip(disks, images):
        if disk.checksum() == image:
            raise AssertionError(f"{disk.name}: nothing was written")
        disk.fsck()
    vm.must("mount_all")
    equal("checksums after a mount", vm.must("checksums"), before)


def check_in_flight(vm, disks, rounds):
    """Restores while the guest writes to disks, and a save, too."""
    vm.must("pids=; for dir in /mnt/*/; do churn $dir & pids=\"$pids $!\"; "
            "done; sleep 1")
    vm.qmp("x-snapshot-device-save")
    images = [disk.checksum() for disk in disks]
    taken = 0
    for _ in range(rounds):
        # Until there was a write at all: on a busy host it may take a while.
        time.sleep(random.random() * (0.1 if taken else 1))
        vm.qmp("x-snapshot-device-restore")
        query = verified(vm)
        taken += sum(disk["clusters-last"] for disk in query["disks"])
    if not taken:
        raise AssertionError("nothing was written between restores")
    equal("images", [disk.checksum() for disk in disks], images)
    vm.must("kill -9 $pids; wait; sync; rm -f /mnt/*/churn")
    after = vm.must("checksums")
    check_written(vm, disks, after)


def check_limit(vm, disks):
    """Where memory ends the guest gets errors, and a restore heals them."""
    # What the kernel prints of errors may come when an answer is waited for.
    vm.must("dmesg -n 1")
    before = vm.must("checksums")
    vm.qmp("x-snapshot-device-save", **{"disk-limit": 1 << 20})
    for disk in disks:
        # It is told of an I/O error, or of a file system that has had one.
        code, output = vm.run(f"dd if=/dev/urandom of=/mnt/{disk.name}/large "
                              "bs=64k count=64 conv=fsync")
        if code == 0:
            raise AssertionError(f"{disk.name}: {output}")
    query = vm.qmp("x-snapshot-device-query")
    if not all(disk["failed"] and disk["bytes"] <= 1 << 20
               for disk in query["disks"]):
        raise AssertionError(query["disks"])
    vm.qmp("x-snapshot-device-restore")
    verified(vm)
    equal("checksums", vm.must("checksums"), before)
    vm.qmp("x-snapshot-device-discard")


def check_kernel_log(vm):
    """The kernel, as it was restored, has seen nothing strange."""
    log = vm.must("dmesg")
    for trouble in ("EXT4-fs error", "I/O error", "BUG:", "WARNING:"):
        if trouble in log:
            raise AssertionError(log)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", default="pc", choices=DISKS)
    parser.add_argument("--rounds", default=8, type=int)
    args = parser.parse_args()
    tap = Tap()

    def check(name, function, *more):
        tap.check(name, function, vm, *more, fatal=VMError)

    with tempfile.TemporaryDirectory(prefix="snapshot-disks-") as work:
        try:
            disks = [Disk(work, *disk) for disk in DISKS[args.machine]]
            options = sum((disk.options() for disk in disks), [])
            with boot_linux("-machine", args.machine, "-m", "192",
                            "-smp", "1" if args.machine == "pc" else "2",
                            "-object", "iothread,id=io",
                            "-device", "snapshot,verify=on", *options) as vm:
                check("file systems", check_setup, disks)
                check("restores", check_revert, disks, args.rounds)
                check("commands of the guest", check_from_inside, disks)
                check("writes under way", check_in_flight, disks,
                      args.rounds * 25)
                check("memory limit", check_limit, disks)
                check("kernel log", check_kernel_log)
        except Skip as reason:
            tap.skip("disks", reason)
        except VMError as error:
            return tap.bail_out(error)
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
