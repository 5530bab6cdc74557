# xquantd: build, test, install. `make help` lists the targets.
#
# Every combination of compiler and sanitizer has its own folder, so none disturbs another:
# build (gcc), build/clang, build/address,undefined, build/clang-thread, build/debug ...
# None is deeper: the program finds models/ one or two steps up.

VERSION  := 0.1.0
REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)

PREFIX       ?= /usr/local
SYSCONFDIR   ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
FUZZ_SECONDS ?= 60
IMAGE        ?= localhost/xquantd:$(VERSION)
JOBS         ?= $(shell nproc)

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(V),)
Q := @
endif

# Flags. Asserts stay on in every build: they are cheap, and a wrong answer is not.
PKGS  := libmicrohttpd libcjson libuv openblas libpcre2-8 libxxhash inih libcurl libcrypto gnutls libutf8proc
WARN  := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
OPT   := -O2
KIND  := $(patsubst --target=%,%,$(filter-out gcc,$(notdir $(CC))))
ifneq ($(SAN),)
KIND   += $(SAN)
CHECKS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -DXQUANTD_DEBUG
LINK   := -fsanitize=$(patsubst fuzzer-no-link%,fuzzer%,$(SAN))
else ifneq ($(DEBUG),)
KIND   += debug
OPT    := -O1
CHECKS := -DXQUANTD_DEBUG
else
CHECKS := -fstack-protector-strong -D_FORTIFY_SOURCE=2
endif
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
BUILD := build$(patsubst %,/%,$(subst $(SPACE),-,$(strip $(KIND))))
# With nothing but libc, and with all of PKGS.
BARE_FLAGS := -std=c17 -D_GNU_SOURCE -I. $(OPT) -g -ffp-contract=off $(WARN) $(if $(WERROR),-Werror) \
              $(CHECKS) $(CFLAGS)
FLAGS := $(BARE_FLAGS) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread -lm

# Only the twins of hot loops may use more than the baseline of the architecture, which is the
# one that the compiler builds for.
ARCH := $(or $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null))),$(shell uname -m))
ifeq ($(ARCH),x86_64)
AVX2_FLAGS   := -O3 -mavx2 -mfma -mf16c
AVX512_FLAGS := -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c
endif
ifeq ($(ARCH),aarch64)
NEON_FLAGS   := -O3 -march=armv8.2-a+dotprod
endif
isa_flags = $(if $(findstring /kern_avx512,$1),$(AVX512_FLAGS),$(if $(findstring /kern_avx2,$1),$(AVX2_FLAGS),$(if $(findstring /kern_neon,$1),$(NEON_FLAGS))))
# Hot loops touch what they are handed and nothing else: ThreadSanitizer watches who hands it. What
# stands before libc is called before a sanitizer is ready.
kern_flags = $(if $(findstring engine/kern/,$1),-fno-sanitize=thread)$(if $(findstring tests/torture/,$1),-fno-sanitize=all)
own_flags = $(call kern_flags,$1) $(if $(filter server/%,$1),-DXQUANTD_VERSION='"$(VERSION)"' -DXQUANTD_REVISION='"$(REVISION)"' \
            -DXQUANTD_DATADIR='"$(PREFIX)/share/xquantd"')

# Sources by wildcard: a new file needs no line here.
OTHER_ARCH := $(if $(filter x86_64,$(ARCH)),engine/kern/kern_neon%,engine/kern_avx%)
LIB_SRC    := $(filter-out server/cmd/main.c $(OTHER_ARCH),$(foreach l,config engine xcache server,$(wildcard $l/*.c $l/*/*.c)))
TEST_SRC   := $(wildcard tests/unit/test_*.c tests/golden/test_*.c tests/real/test_*.c)
HELP_SRC   := $(filter-out $(TEST_SRC),$(wildcard tests/*.c tests/unit/*.c tests/golden/*.c))
KERN_SRC   := $(wildcard tests/kern/*.c)
# The check of the twins with nothing but libc: what can be built for another architecture.
BARE_SRC   := $(KERN_SRC) tests/test_main.c tests/rungs.c $(wildcard tests/kern/bare/*.c) engine/kern/cpu.c \
              $(filter-out $(OTHER_ARCH),$(wildcard engine/kern/kern*.c))
TOOL_SRC   := $(wildcard tests/tools/*.c)
FUZZ_SRC   := $(wildcard tests/fuzz/fuzz_*.c)
FAULT_SRC  := $(wildcard tests/torture/*.c)
ALL_SRC    := $(LIB_SRC) server/cmd/main.c $(TEST_SRC) $(HELP_SRC) $(KERN_SRC) $(TOOL_SRC) $(FUZZ_SRC) $(FAULT_SRC)
FORMATTED  := $(sort $(ALL_SRC) $(wildcard engine/kern/*.c tests/kern/bare/* $(foreach l,config engine xcache server tests,$l/*.h $l/*/*.h)))

objects = $(patsubst %.c,$(BUILD)/%.o,$1)
PROGRAM   := $(BUILD)/xquantd
LIBRARY   := $(BUILD)/libxquantd.a
TEST_LIB  := $(BUILD)/libtests.a
TEST_BIN  := $(TEST_SRC:%.c=$(BUILD)/%) $(if $(KERN_SRC),$(BUILD)/tests/kern/check_all)
BARE_BIN  := $(BUILD)/bare/check_all
TOOL_BIN  := $(TOOL_SRC:%.c=$(BUILD)/%)
FUZZ_BIN  := $(FUZZ_SRC:%.c=$(BUILD)/%)
# The program whose calls can be made to fail. Nothing can stand before the sanitizers of clang, which
# are part of a program.
FAULT_BIN := $(if $(and $(SAN),$(findstring clang,$(CC))),,$(BUILD)/tests/torture/xquantd)
# A make of our own, parallel unless the caller chose otherwise.
# Debian's Node is too old for the clients, and so for what plays them. A line that begins with +
# hands its jobs down: make knows $(MAKE) in a recipe only when it is spelled there.
NODE       = tests/api/setup.sh && tests/api/node_modules/.bin/node
SUB        = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: help all run install test check-kern check-haswell check-arm64 check-all lint fmt bench asan ubsan tsan torture fuzz canaries freezes flood forms \
        bench-sessions bench-returning bench-scale soak ablations figures image check-image deps compile_commands clean programs fuzz-programs bare FORCE
.DELETE_ON_ERROR:
.SECONDARY:

# make alone builds.
.DEFAULT_GOAL := all

help: ## this list
	@sed -n 's/^\([a-z0-9_-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo '  variables:          CC=clang V=1 WERROR=1 DEBUG=1 SAN=address,undefined PREFIX= DESTDIR= ARGS='

all: $(PROGRAM) ## build/xquantd (CC=clang: build/clang/xquantd)

run: deps ## build, then serve SmolLM2-135M, or the model that ships (ARGS="--listen ...")
	+@$(SUB) all
	@exec deploy/run.sh $(PROGRAM) $(ARGS)

install: all ## into PREFIX=/usr/local: program, models, sample configuration, unit
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/xquantd/models \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(SYSCONFDIR)/xquantd
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/xquantd
	install -m 644 models/* $(DESTDIR)$(PREFIX)/share/xquantd/models/
	test -e $(DESTDIR)$(SYSCONFDIR)/xquantd/xquantd.conf || \
	    install -m 644 deploy/xquantd.conf $(DESTDIR)$(SYSCONFDIR)/xquantd/xquantd.conf
	sed -e 's|/usr/bin/|$(PREFIX)/bin/|; s|/etc/xquantd|$(SYSCONFDIR)/xquantd|' \
	    deploy/xquantd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/xquantd.service

test: ## every test; the last line counts them
	@deploy/deps.sh build test
	+@$(SUB) programs
	@JOBS=$(JOBS) tests/run.sh $(BUILD)

check-kern: ## the faster twins of the hot loops against their definition
	+@$(SUB) $(BUILD)/tests/kern/check_all
	@$(BUILD)/tests/kern/check_all

check-arm64: ## the same for arm64: cross-built by gcc and clang, emulated by qemu
	@deploy/deps.sh arm64 || { echo 'check-arm64: a cross compiler or the emulator cannot be had here' >&2; exit 1; }
	+@$(SUB) bare CC=aarch64-linux-gnu-gcc SAN= DEBUG=
	+@$(SUB) bare CC='clang --target=aarch64-linux-gnu' SAN= DEBUG=
	@tests/kern/arm64.sh build/aarch64-linux-gnu-gcc build/clang-aarch64-linux-gnu

check-haswell: ## kernels, purity and start-up on emulated CPUs without AVX-512, and without AVX2
	@deploy/deps.sh haswell || { echo 'check-haswell: the emulator cannot be had here' >&2; exit 1; }
	+@$(SUB) all $(BUILD)/tests/kern/check_all $(BUILD)/tests/golden/test_purity
	@JOBS=$(JOBS) tests/kern/x86_64.sh $(BUILD)

check-all: ## all there is: gcc, clang, older CPUs, arm64, sanitizers, fuzzing, canaries, lint, image
	+@$(SUB) test CC=gcc WERROR=1
	+@$(SUB) test CC=clang WERROR=1
	+@$(SUB) check-haswell WERROR=1
	+@$(SUB) check-arm64 WERROR=1
	+@$(SUB) asan
	+@$(SUB) tsan
	+@$(SUB) torture
	+@$(SUB) torture SAN=address,undefined
	+@$(SUB) fuzz
	+@$(SUB) canaries
	+@$(SUB) freezes
	+@$(SUB) flood
	+@$(SUB) lint
	+@$(SUB) check-image

lint: ## the rules of CONTRIBUTING.md that a script can check
	@deploy/deps.sh build test
	@tests/tools/lint.sh

fmt: ## clang-format every source
	@clang-format -i $(FORMATTED)

bench: ## speed of this build on this machine
	+@$(SUB) all
	@tests/bench/speed.sh $(PROGRAM)

asan: ## the tests under AddressSanitizer and UBSan
	+@$(SUB) test SAN=address,undefined

ubsan: ## the tests under UBSan alone
	+@$(SUB) test SAN=undefined

tsan: ## the tests under ThreadSanitizer
	+@$(SUB) test SAN=thread

torture: ## every call that can fail fails in turn (WORD="request klt8": only such sweeps)
	@deploy/deps.sh build test
	+@$(SUB) $(PROGRAM) $(TOOL_BIN) $(FAULT_BIN)
	@tests/torture/torture.sh $(BUILD) all $(if $(WORD),"$(WORD)")

fuzz: ## every parser for FUZZ_SECONDS=60 (needs clang)
	@deploy/deps.sh build test fuzz
	+@$(SUB) fuzz-programs CC=clang SAN=fuzzer-no-link,address,undefined
	@tests/fuzz/run.sh build/clang-fuzzer-no-link,address,undefined $(FUZZ_SECONDS)

canaries: ## 20,000 requests of 50 tenants with secrets: nothing of one reaches another (REQUESTS=20000)
	+@$(SUB) all
	@$(NODE) tests/bench/canaries.mjs $(REQUESTS)

freezes: ## a completion beside each thing that could stop a server, and SIGTERM (idle machine)
	+@$(SUB) all
	@$(NODE) tests/bench/freezes.mjs

forms: ## 1,000 random schemas at temperature 1.5, each answer judged (SCHEMAS=1000)
	+@$(SUB) all
	@$(NODE) tests/bench/forms.mjs $(SCHEMAS)

flood: ## time to the first token beside a key that floods the server (idle machine)
	+@$(SUB) all
	@$(NODE) tests/bench/flood.mjs

bench-sessions: ## 150 sessions at once, 500 dialogues turn by turn, gaps beside a long prompt (DATA=FOLDER with wiki.test.raw, dialogues.jsonl)
	+@$(SUB) all
	@tests/bench/sessions.sh $(DATA)

bench-returning: ## users who come back, at 256 MiB (DATA=FOLDER with dialogues.jsonl, LLAMA_SERVER=BINARY, ARGS="--turns 2000")
	+@$(SUB) all
	@$(NODE) tests/bench/returning/run.mjs $(DATA)/dialogues.jsonl $(ARGS)

bench-scale: ## a model of 1.2 B random weights, Q8_0 and Q4_K (FOLDER=ROOM for 5 GB, LLAMA_BENCH=BINARY)
	+@$(SUB) all $(TOOL_BIN)
	@$(NODE) tests/bench/scale.mjs $(FOLDER) $(ARGS)

soak: ## 20 minutes of rude clients: leaks, hangs, lost count (MINUTES=20 ABUSE=--abuse)
	+@$(SUB) all
	@$(NODE) tests/bench/soak.mjs $(ABUSE) $(MINUTES)

ablations: ## measure what the paper leaves open: docs/ablations.* (MODELS="FILE.gguf ..." CHUNKS=4)
	@deploy/deps.sh build figures
	+@$(SUB) all
	@tests/bench/ablations.sh $(PROGRAM) docs/ablations.json $(MODELS)
	@tests/bench/ablations_draw.sh docs/ablations.json

figures: ## draw docs/ratio-kl-* and docs/kl-against-ratio.svg from docs/perplexity-*.json
	@deploy/deps.sh figures
	@tests/bench/figures.sh docs/perplexity-*.json
	@jq -rsf docs/kl-against-ratio.jq docs/perplexity-mha.json docs/peer-kl.json >docs/kl-against-ratio.svg

# The model that ships stands for any: its variant is built without network.
check-image: MODEL = seedling-32m-mha
check-image: image ## the image, and one with a model inside, answer as non-root and stop on SIGTERM
	@tests/api/image.sh $(IMAGE) $(MODEL)

image: ## the container image, with docker or without; MODEL=NAME: also one with that model inside
	@deploy/deps.sh image
	+@$(if $(MODEL),$(SUB) all,:)
	@IMAGE=$(IMAGE) VERSION=$(VERSION) REVISION=$(REVISION) MODEL=$(MODEL) PROGRAM=$(PROGRAM) deploy/image.sh

deps: ## install the Debian packages that the build misses
	@deploy/deps.sh build

define command_of
{"directory": "$(CURDIR)", "file": "$1", "command": "$(CC) $(subst ",\",$(FLAGS) $(call isa_flags,$1) $(call own_flags,$1)) -c $1"}
endef
comma := ,
compile_commands: ## build/compile_commands.json, for editors
	@mkdir -p build
	$(file >build/compile_commands.json,[)
	$(foreach s,$(ALL_SRC),$(file >>build/compile_commands.json,$(call command_of,$s)$(if $(filter-out $(lastword $(ALL_SRC)),$s),$(comma))))
	$(file >>build/compile_commands.json,])
	@echo build/compile_commands.json

clean: ## remove build/
	@rm -rf build

programs: $(PROGRAM) $(TEST_BIN) $(TOOL_BIN) $(FAULT_BIN)
fuzz-programs: $(FUZZ_BIN)
bare: $(BARE_BIN)

$(PROGRAM): $(BUILD)/server/cmd/main.o $(LIBRARY)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CHECKS) $(LINK) -o $@ $^ -Wl,-z,relro,-z,now $(LDFLAGS) $(LIBS)

$(BUILD)/tests/torture/xquantd: $(BUILD)/server/cmd/main.o $(call objects,$(FAULT_SRC)) $(LIBRARY)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CHECKS) $(LINK) -o $@ $^ $(LDFLAGS) $(LIBS)

# Removed first: an archive would keep the objects of files that are gone.
$(LIBRARY): $(call objects,$(LIB_SRC))
$(TEST_LIB): $(call objects,$(HELP_SRC))
$(LIBRARY) $(TEST_LIB):
	@echo '  AR    $@'
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/tests/kern/check_all: $(call objects,$(KERN_SRC)) $(TEST_LIB) $(LIBRARY)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CHECKS) $(LINK) -o $@ $^ $(LDFLAGS) -lcmocka $(LIBS)

$(BARE_BIN): $(BARE_SRC:%.c=$(BUILD)/bare/%.o)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CHECKS) -static -o $@ $^ $(LDFLAGS) -lm

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIB) $(LIBRARY)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CHECKS) $(LINK) -o $@ $^ $(LDFLAGS) -lcmocka $(LIBS)

# The test of memory counts our own calls.
$(BUILD)/tests/unit/test_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

compile = $(CC) $1 -MMD -MP $(call isa_flags,$<) $(call own_flags,$<) -c -o $@ $<

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(call compile,$(FLAGS))

$(BUILD)/bare/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(call compile,$(BARE_FLAGS) -Itests/kern/bare)

# Revision and prefix are part of some objects: these follow them, the others do not.
STAMPED := $(shell grep -lE 'XQUANTD_(REVISION|DATADIR)' server/*.c server/*/*.c 2>/dev/null)
$(call objects,$(STAMPED)): $(BUILD)/stamp
$(BUILD)/stamp: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(REVISION) $(PREFIX)' | cmp -s - $@ || \
	    echo '$(VERSION) $(REVISION) $(PREFIX)' >$@
FORCE:

-include $(patsubst %.c,$(BUILD)/%.d,$(ALL_SRC)) $(patsubst %.c,$(BUILD)/bare/%.d,$(BARE_SRC))
