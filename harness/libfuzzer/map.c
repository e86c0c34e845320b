/*
 * The coverage map, unless the fuzzer has one of another size.
 *
 * It is alone in this file: a linker takes it out of the library only if
 * nothing else defines it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "snapshot-fuzzer.h"

SNAPSHOT_FUZZER_MAP(65536);
