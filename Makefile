# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thin front: it sees to the packages and the tools, and then has meson do
# the work, in build/.  'make help' shows what there is.

QEMU_SRC ?=
QEMU_OPTIONS ?=
export QEMU_SRC QEMU_OPTIONS JOBS

MESON := build/tools/bin/meson
COMPILE := $(MESON) compile -C build $(if $(JOBS),-j $(JOBS))
# The limits are for a machine that has nothing else to do.
TEST := $(MESON) test -C build --print-errorlogs --timeout-multiplier 4
SUMMARY := scripts/summary.py build/meson-logs/testlog

all: setup
	@$(COMPILE)

qemu: setup
	@$(COMPILE) qemu

guest: setup
	@$(COMPILE) guest-image

demo: all
	@SNAPSHOT_BUILD=$(CURDIR)/build guest/demo

# The summary comes last, whatever the tests' end; it has the exit code.
check: all
	@rm -f build/meson-logs/testlog.json
	@$(TEST) || true
	@$(SUMMARY).json

# Five to ten minutes; with QUICK=1 about two.
bench: all
	@scripts/packages bench
	@SNAPSHOT_BUILD=$(CURDIR)/build bench/bench.py $(if $(QUICK),--quick)

# Campaigns in processes and in machines, about six minutes
bench-fuzz: all
	@SNAPSHOT_BUILD=$(CURDIR)/build bench/fuzz.py $(if $(QUICK),--seconds 5)

# The results of the last 'make bench' and 'make bench-fuzz' into
# docs/performance.rst
bench-docs:
	@bench/report.py --docs --campaigns build/bench/fuzz.json \
		build/bench/restore.json

check-sanitize: setup
	@scripts/build-qemu --sanitize --tests
	@$(COMPILE)
	@rm -f build/meson-logs/testlog-sanitize.json
	@$(TEST) --setup sanitize || true
	@$(SUMMARY)-sanitize.json

# Fetches and builds a kernel the first time, which takes some minutes.
check-kcov: all
	@scripts/packages kcov
	@scripts/build-kcov
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/kcov/test_kcov.py

# The tests that run AFL++'s programs, with those of Debian 13.
check-afl: AFL_SUITE ?= trixie
check-afl: all
	@scripts/packages afl
	@scripts/fetch-afl $(AFL_SUITE)
	@rm -f build/meson-logs/testlog-afl.json
	@PATH="$(CURDIR)/build/afl-$(AFL_SUITE)/bin:$$PATH" $(TEST) \
		--logbase testlog-afl fuzz-afl fuzz-cmplog fuzz-processes \
		fuzz-snapfuzz targets soak-fuzz || true
	@$(SUMMARY)-afl.json

soak: all
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/soak/soak.py \
		--restores $(or $(SOAK_RESTORES),1000000)

# Half an hour; and a minute of a guest that is hostile to the device
soak-fuzz: all
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/guest/test_hostile.py --seconds 60
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/soak/soak_fuzz.py \
		--seconds $(or $(SOAK_SECONDS),1800)

faults: all
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/soak/faults.py \
		--restores $(or $(FAULT_RESTORES),10000)

# MATRIX="--restores 20 --only q35" for a part of it.
matrix: all
	@SNAPSHOT_BUILD=$(CURDIR)/build tests/matrix/matrix.py $(MATRIX)
	@tests/matrix/table.py build/matrix.json docs/matrix.rst

check-upstream: setup
	@scripts/check-upstream

graft: source
	@scripts/graft.py apply --tree $(or $(QEMU_SRC),build/qemu-src)

ungraft: source
	@scripts/graft.py remove --tree $(or $(QEMU_SRC),build/qemu-src)

packages:
	@scripts/packages

source: packages
	@$(if $(QEMU_SRC),,scripts/fetch-qemu)

setup: packages
	@scripts/setup

# A tree of the user's is given back without our files.
clean:
	@$(if $(QEMU_SRC),scripts/graft.py remove --tree $(QEMU_SRC))
	rm -rf build/qemu build/qemu-asan build/qemu-plain build/qemu-plain-src
	rm -rf build/bin build/meson-* build/build.ninja build/*.stamp

distclean:
	@$(if $(QEMU_SRC),scripts/graft.py remove --tree $(QEMU_SRC))
	rm -rf build

help:
	@echo 'make                build QEMU with the device, and the guest'
	@echo 'make demo           and demonstrate it: a rewind, and a campaign'
	@echo 'make check          and run all tests; last line: the counts'
	@echo 'make qemu           only QEMU, below build/bin'
	@echo 'make guest          only build/guest/vmlinuz, initramfs.cpio.gz'
	@echo 'make bench          measure restores; results in build/bench'
	@echo 'make bench-fuzz     measure campaigns of afl-fuzz and libFuzzer'
	@echo 'make bench-docs     put the results of make bench in docs/'
	@echo 'make check-upstream run QEMU'"'"'s own qtests, with and without us'
	@echo 'make check-sanitize run the tests on a build with ASan and UBSan'
	@echo 'make check-kcov     run the tests that need a kernel with KCOV'
	@echo 'make check-afl      run the tests of campaigns with AFL++ of Debian 13'
	@echo 'make matrix         restore every machine with every device, verified'
	@echo 'make soak           restore two machines a million times'
	@echo 'make soak-fuzz      a campaign in which everything goes wrong'
	@echo 'make faults         disturb a machine that restores itself'
	@echo 'make graft, ungraft put our files into the QEMU tree, take them out'
	@echo 'make packages       install the Debian packages that are missing'
	@echo 'make clean          remove what was built, keep what was fetched'
	@echo 'make distclean      remove build/'
	@echo
	@echo 'QEMU_SRC=DIR        use this QEMU tree (10.0 or later)'
	@echo 'QEMU_OPTIONS=...    more options for its configure'
	@echo 'QEMU_TARGETS=...    its targets (x86_64-softmmu aarch64-softmmu)'
	@echo 'QUICK=1             bench: fewer points'
	@echo 'JOBS=N              how many compilers at once'

.PHONY: all qemu guest demo bench bench-fuzz bench-docs check check-sanitize \
	check-afl check-kcov check-upstream matrix soak soak-fuzz faults graft \
	ungraft packages source setup clean distclean help
