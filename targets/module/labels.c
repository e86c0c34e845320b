/*
 * A kernel module with a bug that was put there to be found: /dev/labels.
 *
 * What is written to it is "LB" and then labels, each with its length in front
 * (one byte).  In a label, '*', a count (one byte) and a character stand for
 * that character so many times.  A label is unpacked on the stack, and there
 * is room for LABEL_MAX characters.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uio.h>

#define LABEL_MAX   32
#define WRITE_MAX   4096

/* Returns the sum of the label's characters, or an error. */
static noinline int unpack_label(const u8 *text, size_t size)
{
    char label[LABEL_MAX];
    size_t used = 0, i = 0;
    int sum = 0;

    while (i < size) {
        unsigned int count = 1;
        char c = text[i++];

        if (c == '*') {
            if (size - i < 2) {
                return -EINVAL;
            }
            count = text[i++];
            c = text[i++];
        }
        if (used == sizeof(label)) {    /* the bug: used + count > ... */
            return -E2BIG;
        }
        while (count--) {
            label[used++] = c;
        }
    }
    for (i = 0; i < used; i++) {
        sum += (u8)label[i];
    }
    return sum;
}

/* Returns 0 or an error. */
static int unpack_all(const u8 *data, size_t size)
{
    size_t i = 2;

    if (size < 2 || data[0] != 'L' || data[1] != 'B') {
        return -EINVAL;
    }
    while (i < size) {
        size_t length = data[i++];
        int sum;

        if (length > size - i) {
            return -EINVAL;
        }
        sum = unpack_label(data + i, length);
        if (sum < 0) {
            return sum;
        }
        i += length;
    }
    return 0;
}

static ssize_t labels_write(struct kiocb *iocb, struct iov_iter *from)
{
    size_t size = iov_iter_count(from);
    int result = -EFAULT;
    u8 *data;

    if (size > WRITE_MAX) {
        return -E2BIG;
    }
    data = kmalloc(WRITE_MAX, GFP_KERNEL);
    if (!data) {
        return -ENOMEM;
    }
    if (copy_from_iter_full(data, size, from)) {
        result = unpack_all(data, size);
    }
    kfree(data);
    return result < 0 ? result : size;
}

static const struct file_operations labels_operations = {
    .owner = THIS_MODULE,
    .write_iter = labels_write,
};

static struct miscdevice labels_device = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "labels",
    .fops = &labels_operations,
};

module_misc_device(labels_device);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Labels, with a bug");
