#!/usr/bin/env bash
# lint_test.sh - breaks each rule of lint.sh once, in a copy, and sees it named.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
passed=0 failed=0

fresh() { # a small tree that keeps every rule
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/{config,engine/kern,xcache,server/http,deploy,tests/tools}
  cp .clang-format "$tree"
  cp config/* "$tree/config"
  cp deploy/xquantd.conf "$tree/deploy"
  cp tests/tools/{lint.sh,print_conf.c} "$tree/tests/tools"
  put engine/a.h '/* a.h - a header. */' '#ifndef ENGINE_A_H' '#define ENGINE_A_H' '' \
    'int a(void);' '' '#endif'
  put engine/a.c '/* a.c - stdout and printf( in a comment. */' '#include "engine/a.h"' '' \
    'int a(void)' '{' '    return sizeof "_mm_add";' '}'
}
put() { # put FILE LINE...
  local file=$1
  shift
  printf '%s\n' "$@" >"$tree/$file"
}
lint() { (cd / && GIT_CEILING_DIRECTORIES=$tree "$tree/tests/tools/lint.sh" "$@" 2>&1); }
verdict() { # verdict WHAT STATUS OUTPUT
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s:\n%s\n' "$1" "$3"
  fi
}
# expect RULE TEXT: that rule, run alone, fails and says the text.
expect() {
  local out
  if out=$(lint "$1"); then
    verdict "$1 passes" 1 "$out"
  else
    grep -qF "$2" <<<"$out"
    verdict "$1 says '$2'" $? "$out"
  fi
  fresh
}

fresh
out=$(lint)
verdict 'a tree that keeps every rule is clean' $? "$out"

put engine/b.c '/* b.c - b. */' '#include "xcache/pool.h"'
expect includes 'engine/b.c:2: engine/ may not include "xcache/pool.h"'
put xcache/b.c '/* b.c - b. */' '#include "server/http.h"'
expect includes 'xcache/b.c:2: xcache/ may not include "server/http.h"'
put config/b.c '/* b.c - b. */' '' '#include "engine/err.h"'
expect includes 'config/b.c:3: config/ may not include "engine/err.h"'
put engine/b.c '/* b.c - b. */' '#include "a.h"'
expect includes 'engine/b.c:2: engine/ may not include "a.h"'
put tests/b.c '/* b.c - b. */' '#include "engine/a.c"'
expect includes 'tests/b.c:2: a .c file is never included'
put engine/kern/b.c '/* b.c - b. */' '#include "engine/model/model.h"'
expect wings 'engine/kern/b.c:2: engine/kern/ may not include "engine/model/model.h"'
put xcache/b.c '/* b.c - b. */' '#include "xcache/calibrate/loop.h"'
expect wings 'xcache/b.c:2: xcache/ may not include "xcache/calibrate/loop.h"'
put server/http/b.c '/* b.c - b. */' '' '#include "server/sched/sched.h"'
expect wings 'server/http/b.c:3: server/http/ may not include "server/sched/sched.h"'
put engine/b.h '/* b.h - b. */' '#include "engine/a.h"'
sed -i '2s|.*|#include "engine/b.h"|' "$tree/engine/a.c"
expect circles 'engine/a:2: includes engine/b, which includes it'
put engine/b.h '/* b.h - b. */' '#include "engine/a_state.h"'
expect circles 'engine/b.h:2: a header may not include engine/a_state.h, which is private'
put engine/kern/b.c '/* b.c - b. */' '#include "engine/a_state.h"'
expect circles 'engine/kern/b.c:2: engine/a_state.h is private to engine/'
put engine/b.c '/* b.c - b. */' '#include <cjson/cJSON.h>'
expect third_party 'engine/b.c:2: <cjson/cJSON.h> belongs to server'
put xcache/b.c '/* b.c - b. */' '#include <uv.h>'
expect third_party 'xcache/b.c:2: <uv.h> belongs to server'
put server/b.c '/* b.c - b. */' '#include <cblas.h>'
expect third_party 'server/b.c:2: <cblas.h> belongs to engine, xcache'
put engine/b.c '/* b.c - b. */' 'void b(void) { printf("b"); }'
expect printing 'engine/b.c:2: only server/ prints'
put xcache/b.c '/* b.c - b. */' 'void b(void) { fputs("b", stderr); }'
expect printing 'xcache/b.c:2: only server/ prints'
put engine/b.c '/* b.c - b. */' '' '#include <immintrin.h>'
expect intrinsics 'engine/b.c:3: intrinsics belong to engine/kern/kern_<isa>.c'
put engine/kern/kern_ref.c '/* kern_ref.c - b. */' '__m256 b;'
expect intrinsics 'engine/kern/kern_ref.c:2: intrinsics belong'
sed -i 's/ENGINE_A_H/A_H/' "$tree/engine/a.h"
expect guards 'engine/a.h:2: the guard is not ENGINE_A_H'
sed -i 's/^int a/size_t a/' "$tree/engine/a.h"
expect self_contained 'engine/a.h:1: does not compile alone'
sed -i 's/a\.c -/b.c -/' "$tree/engine/a.c"
expect opening 'engine/a.c:1: does not open with /* a.c - what it is'
put engine/a.h '/* a.h - a header. */' '#ifndef ENGINE_A_H' '#define ENGINE_A_H' '' 'int b_all(int a,' \
  '          int b);' '' '#endif'
sed -i 's/^int a(void)/int b_all(int a, int b)/' "$tree/engine/a.c"
expect prefix 'engine/a.h:5: b_all is defined in engine/a.c'
repeat() { for ((i = 0; i < $1; i++)); do echo "$2"; done; } # repeat TIMES LINE
put engine/b.c '/* b.c - b. */' "$(repeat 500 ' ;')"
expect sizes 'engine/b.c:501: 501 lines; 500 is most'
put engine/b.c '/* b.c - b. */' 'int b(void)' '{' "$(repeat 58 ' ;')" '}'
expect sizes 'engine/b.c:2: b has 61 lines; 60 is most'
put engine/b.c '/* b.c - b. */' "$(repeat 60 "$(printf '%s\n' 'int b(void)' '{' "$(repeat 24 ' ;')" '}')")"
expect sizes '5 of 100 functions have 27 lines or more; 25 is most'
for mark in TOD'O' FIXM'E' XX'X'; do
  echo "/* $mark */" >>"$tree/engine/a.c"
  expect marks 'engine/a.c:8: open an issue instead'
done
sed -i 's/^    return/  return/' "$tree/engine/a.c"
expect format 'engine/a.c:5: not formatted'
sed -i '1s/$/ changed/' "$tree/deploy/xquantd.conf"
expect sample 'deploy/xquantd.conf:1: is stale'
for place in /wor'k/main' registry.npmj's.org'; do
  echo "see $place" >"$tree/engine/notes.md"
  expect places 'engine/notes.md:1: names a path or host of one machine'
done

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
