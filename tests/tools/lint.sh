#!/usr/bin/env bash
# lint.sh - the rules of CONTRIBUTING.md that a script can check; names file and line.
#
#   tests/tools/lint.sh [RULE...]   all rules, or those named
#
# Each rule is a function that prints `file:line: what is wrong`; what it prints fails the
# run. After them, the ten longest functions and files: a list to look at, not a verdict.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

list_files() {
  if git rev-parse --show-toplevel >/dev/null 2>&1; then
    git ls-files -co --exclude-standard | while read -r f; do [ -f "$f" ] && echo "$f"; done
  else
    find . -type f -not -path './build/*' -not -path '*/node_modules/*' -printf '%P\n'
  fi
}
mapfile -t files < <(list_files | sort)
of() { printf '%s\n' "${files[@]}" | grep -E "$1"; }
mapfile -t sources < <(of '\.[ch]$')
mapfile -t headers < <(of '^(config|engine|xcache|server|tests)/.*\.h$')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# A source without its comments and the texts in quotes, lines kept: "line text".
code() {
  awk '{
    line = $0
    gsub(/\\"/, "", line)
    if (line !~ /^[ \t]*#[ \t]*include/) gsub(/"[^"]*"/, "\"\"", line)
    out = ""
    while (line != "") {
      if (inside) {
        i = index(line, "*/")
        if (!i) break
        inside = 0; line = substr(line, i + 2)
      } else {
        i = index(line, "/*"); j = index(line, "//")
        if (j && (!i || j < i)) { out = out substr(line, 1, j - 1); break }
        if (!i) { out = out line; break }
        out = out substr(line, 1, i - 1); inside = 1; line = substr(line, i + 2)
      }
    }
    print out
  }' "$1"
}

# grep_code REGEX MESSAGE FILE...: one complaint for each line of code that matches.
grep_code() {
  local regex=$1 message=$2 f
  shift 2
  for f; do
    [ -e "$f" ] && code "$f" | grep -nE "$regex" | sed -E "s|^([0-9]+):.*|$f:\1: $message|"
  done
}

rule_includes() { # part 2 of the design: who may know whom
  local f folder allowed
  for f in "${sources[@]}"; do
    folder=${f%%/*}
    case $folder in
      config) allowed='config' ;;
      engine) allowed='engine' ;;
      xcache) allowed='xcache|engine' ;;
      server) allowed='config|engine|xcache|server' ;;
      *) allowed='config|engine|xcache|server|tests' ;;
    esac
    grep -nE '^[ \t]*# *include "' "$f" | grep -vE "include \"($allowed)/" |
      sed -E "s|^([0-9]+):.*include (\"[^\"]*\").*|$f:\1: $folder/ may not include \2|"
    grep -nE '^[ \t]*# *include ".*\.c"' "$f" |
      sed -E "s|^([0-9]+):.*|$f:\1: a .c file is never included|"
  done
}

# The quoted includes of a wing's files, "file line header".
wing_includes() {
  of "^$1/[^/]*\.[ch]$" | xargs -r grep -nHE '^[ \t]*# *include "' |
    sed -nE 's/^([^:]*):([0-9]+):.*"([^"]*)".*/\1 \2 \3/p'
}

rule_wings() { # wing, and the other wings of its layer that it may include
  local wing allowed f line header to
  while read -r wing allowed; do
    while read -r f line header; do
      to=${header%/*}
      [[ ${to%%/*} != "${wing%%/*}" || " $wing $allowed " == *" $to "* ]] ||
        echo "$f:$line: $wing/ may not include \"$header\""
    done < <(wing_includes "$wing")
  done <<'TABLE'
engine
engine/kern engine
engine/gguf engine
engine/tokenizer engine engine/gguf
engine/template engine engine/gguf engine/tokenizer
engine/model engine engine/gguf engine/kern
engine/grammar engine engine/gguf engine/tokenizer
xcache/codec
xcache xcache/codec
xcache/calibrate xcache xcache/codec
server
server/schema server
server/http server
server/sched server
server/api server server/http server/sched server/schema
server/convert server
server/cmd server server/http server/sched server/api server/convert server/schema
TABLE
}

# A .c and its .h are one module; no two include each other. A _state.h is not a module but the
# struct that some .c files share: it has to know the parts that it is made of, and they work on
# the whole. So it may be included by .c files of its folder only, and never by a header.
rule_circles() {
  of '^(config|engine|xcache|server)/.*\.[ch]$' | xargs -r grep -nHE '^[ \t]*# *include ".*\.h"' |
    sed -nE 's/^([^:]*)\.([ch]):([0-9]+):.*"([^"]*)\.h".*/\1 \3 \4 \2/p' |
    awk '$1 == $3 {next}
      $3 ~ /_state$/ {
        from = $1; to = $3
        sub(/[^\/]*$/, "", from); sub(/[^\/]*$/, "", to)
        if ($4 == "h") print $1 ".h:" $2 ": a header may not include " $3 ".h, which is private"
        else if (from != to) print $1 ".c:" $2 ": " $3 ".h is private to " to
        next
      }
      {line[$1 " " $3] = $2}
      END {
        for (edge in line) {
          split(edge, m, " ")
          if (m[1] < m[2] && (m[2] " " m[1]) in line)
            print m[1] ":" line[edge] ": includes " m[2] ", which includes it"
        }
      }' | sort
}

# The functions that a header declares, "line name": not those of macros, types and bodies.
declared() {
  code "$1" | awk '
    /^[ \t]*#/ || continued {continued = /\\$/; next}
    {
      text = $0
      if (depth == 0 && !pending && text ~ /^[A-Za-z].*[A-Za-z_0-9]\(/ &&
          text !~ /^(typedef|static|union|_Static_assert|extern "C")/ && text !~ /\(\*/) {
        name = text; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
        at = NR; pending = 1
      }
      if (pending && text ~ /;[ \t]*$/) {print at, name; pending = 0}
      if (pending && text ~ /\{/) pending = 0
      depth += gsub(/\{/, "", text) - gsub(/\}/, "", text)
    }'
}

# A public function begins with the stem of the file that defines it, or the first word of it.
rule_prefix() {
  local h f
  mapfile -t bodies < <(of '^(config|engine|xcache|server)/.*\.c$')
  for f in "${bodies[@]}"; do
    code "$f" | sed -nE "/^(static|typedef|#)/d; /;[ \t]*$/d
      s|^[A-Za-z].*[ *]([a-z_0-9]+)\(.*|\1 $f|p"
  done >"$tmp/definitions"
  for h in "${headers[@]}"; do
    [[ $h == tests/* ]] || declared "$h" | sed "s|^|$h |"
  done | awk -v definitions="$tmp/definitions" '
    # What has no definition comes from a macro, or belongs to another CPU.
    BEGIN {while ((getline < definitions) > 0) file[$1] = $2}
    $3 in file {
      stem = file[$3]; sub(/.*\//, "", stem); sub(/\.c$/, "", stem)
      first = stem; sub(/_.*/, "", first)
      if (index($3, stem) != 1 && $3 != first && index($3, first "_") != 1)
        print $1 ":" $2 ": " $3 " is defined in " file[$3]
    }'
}

# "lines file:line name" of every function.
functions() {
  awk 'FNR == 1 {start = 0}
    /^[A-Za-z].*\(/ && !/;$/ {head = FNR; name = $0}
    /^{/ && head {start = head}
    /^}/ && start {
      sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
      print FNR - start + 1, FILENAME ":" start, name; start = 0; head = 0
    }' "${sources[@]}"
}

rule_sizes() { # files to 500 lines, functions to 60, 95 of 100 to 25
  wc -l "${sources[@]}" | awk '$2 != "total" && $1 > 500 {print $2 ":501: " $1 " lines; 500 is most"}'
  functions | sort -n >"$tmp/functions"
  awk '$1 > 60 {print $2 ": " $3 " has " $1 " lines; 60 is most"}' "$tmp/functions"
  awk '{n[NR] = $1; where[NR] = $2}
    END {
      i = int(NR * .95) + 1
      if (NR && i <= NR && n[i] > 25) print where[i] ": 5 of 100 functions have " n[i] " lines or more; 25 is most"
    }' "$tmp/functions"
}

rule_third_party() { # library header, and the folders that may have it
  local header allowed f
  while read -r header allowed; do
    for f in "${sources[@]}"; do
      [[ ${f%%/*} =~ ^($allowed|tests)$ ]] && continue
      grep -nE "^[ \t]*# *include <$header>" "$f" |
        sed -E "s|^([0-9]+):.*<(.*)>.*|$f:\1: <\2> belongs to ${allowed//\|/, }|"
    done
  done <<'TABLE'
uv\.h server
microhttpd\.h server
(cjson/)?cJSON\.h server
(cblas|lapacke?|openblas_config|f77blas)\.h engine|xcache
pcre2\.h engine
(xxhash|xxh3)\.h xcache|server
ini\.h config
(curl|openssl|gnutls)/.*\.h server
cmocka\.h tests
TABLE
}

rule_printing() {
  mapfile -t quiet < <(of '^(config|engine|xcache)/.*\.[ch]$')
  grep_code '\b(printf|vprintf|puts|putchar|perror|dprintf|syslog)[ ]*\(|\b(stdout|stderr)\b' \
    'only server/ prints' "${quiet[@]}"
}

rule_intrinsics() {
  mapfile -t plain < <(of '^(config|engine|xcache|server)/.*\.[ch]$' |
    grep -vE '^engine/kern/kern_(avx2|avx512|neon)[a-z0-9_]*\.[ch]$')
  grep_code '\b_mm[0-9]*_|\b__m(128|256|512)|<([a-z0-9]*mmintrin|immintrin|x86intrin|arm_neon)\.h>' \
    'intrinsics belong to engine/kern/kern_<isa>.c' "${plain[@]}"
}

rule_guards() {
  local h want got
  for h in "${headers[@]}"; do
    want=$(tr 'a-z/.-' 'A-Z___' <<<"$h")
    got=$(grep -nE -m1 '^#' "$h")
    [[ $got =~ ^[0-9]+:\#ifndef\ $want$ ]] ||
      echo "$h:${got%%:*}: the guard is not $want"
  done
}

rule_self_contained() {
  printf '%s\n' "${headers[@]}" | xargs -r -P "$(nproc)" -I{} sh -c \
    "\${CC:-gcc} -std=c17 -D_GNU_SOURCE -I. -Wall -Wextra -fsyntax-only -x c \
      $(pkg-config --cflags libmicrohttpd libcjson libuv openblas libpcre2-8 2>/dev/null) {} \
      >$tmp/\$(echo {} | tr / _).out 2>&1 || echo '{}:1: does not compile alone'"
}

rule_opening() {
  local f
  for f in "${sources[@]}"; do
    head -n 1 "$f" | grep -qE "^/\* ${f##*/} - " ||
      echo "$f:1: does not open with /* ${f##*/} - what it is"
  done
}

rule_marks() {
  of '\.(c|h|def|sh|mjs|js|py|ya?ml|service)$|(^|/)(Makefile|Dockerfile|run)$' |
    xargs -r grep -nHwE 'TOD[O]|FIXM[E]|XX[X]' | sed -E 's/^([^:]*:[0-9]+):.*/\1: open an issue instead/'
}

rule_format() {
  printf '%s\n' "${sources[@]}" | xargs -r clang-format --dry-run -Werror 2>&1 |
    grep -E '^[^ ].*error:' | sed -E 's/^([^:]*:[0-9]+):.*/\1: not formatted (make fmt)/' | sort -u
}

rule_sample() { # the one generated file that is checked in
  "${CC:-gcc}" -std=c17 -D_GNU_SOURCE -I. config/*.c tests/tools/print_conf.c -linih -lm \
    -o "$tmp/print_conf" 2>"$tmp/print_conf.out" || { cat "$tmp/print_conf.out"; return; }
  "$tmp/print_conf" | cmp -s - deploy/xquantd.conf ||
    echo 'deploy/xquantd.conf:1: is stale; write what build/tests/tools/print_conf prints'
}

rule_places() { # paths and hosts of the machine it was written on
  printf '%s\n' "${files[@]}" | xargs -r grep -InHE \
    '/wor[k]/|/far[m]/|[.]librar[y]|registry[.]npmj[s]|deb[.]debia[n]|"resolve[d]":' |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: names a path or host of one machine/'
}

list_longest() {
  echo 'longest functions (lines, where):'
  functions | sort -rn | head -n 10 | sed 's/^/  /'
  echo 'longest files (lines):'
  wc -l "${sources[@]}" | grep -v ' total$' | sort -rn | head -n 10 | sed 's/^ */  /'
}

# A tenth of a file says why; where it is less, a reader has to guess.
list_uncommented() {
  echo '.c files with less than 9 % of comments (share, lines):'
  of '^(config|engine|xcache|server)/.*\.c$' | while read -r f; do
    awk '/^[ \t]*$/ {next}
      {total++}
      inside || /^[ \t]*\/[*\/]/ {comments++}
      /\/\*/ {inside = 1}
      /\*\// {inside = 0}
      END {if (comments < .09 * total) printf "  %4.1f %% %s (%d)\n", 100 * comments / total, FILENAME, total}' "$f"
  done | sort -n
}

rules=("$@")
[ $# -gt 0 ] || rules=(includes wings circles prefix sizes third_party printing intrinsics guards
  self_contained opening marks format sample places)
complaints=0
for rule in "${rules[@]}"; do
  out=$("rule_$rule")
  [ -z "$out" ] && continue
  echo "$out"
  complaints=$((complaints + $(wc -l <<<"$out")))
done
[ $# -gt 0 ] || { list_longest; list_uncommented; }
[ "$complaints" = 0 ] || { echo "lint: $complaints complaints"; exit 1; }
[ $# -gt 0 ] || echo 'lint: clean'
