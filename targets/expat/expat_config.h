/*
 * What Expat's own configuration would find out on Linux with glibc.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXPAT_CONFIG_H
#define EXPAT_CONFIG_H

#define BYTEORDER           1234
#define HAVE_GETRANDOM      1
#define XML_DEV_URANDOM     1
#define XML_CONTEXT_BYTES   1024
#define XML_DTD             1
#define XML_GE              1
#define XML_NS              1

#endif
