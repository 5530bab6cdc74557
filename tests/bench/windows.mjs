// windows.mjs - conversations of a model with sliding windows in a pool that holds few of them in full:
// all return, and compute nothing of their past again.
//
//   node tests/bench/windows.mjs MODEL.gguf [--contexts 64] [--tokens 4096] [--full 20] [--cache MODE]
//
// Each says something of its own, so nothing is shared. What they answer when they return is compared
// with what they answered in a pool that holds all of them in full, with --compare. Exit code 1: one
// was not served from the cache.
import { parseArgs } from "node:util";

import { ask, complete, metrics, series, startDaemon } from "../api/daemon.mjs";

const { values: o, positionals: [model] } = parseArgs({ allowPositionals: true, options: {
    contexts: { type: "string", default: "64" }, tokens: { type: "string", default: "4096" },
    full: { type: "string", default: "20" }, cache: { type: "string", default: "auto" },
    compare: { type: "boolean", default: false } } });
const contexts = Number(o.contexts), tokens = Number(o.tokens), BLOCK = 128;

// Words of a small vocabulary, in an order of each one's own; and what is asked when it returns.
function prompt(who, more) {
    let state = who + 1;
    const ids = [];

    while (ids.length < tokens + more) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        ids.push(1000 + (state >>> 8) % 5000);
    }
    return ids;
}

async function turn(daemon, who, more) {
    const start = performance.now();
    const { status, json, text } = await complete(daemon, { prompt: prompt(who, more), max_tokens: 8,
        temperature: 0, ignore_eos: true, return_token_ids: true, session_id: `visitor ${who}` });

    if (status !== 200) throw new Error(text);
    return { ...json.usage.prompt_tokens_details, ids: json.choices[0].token_ids.join(),
        ms: performance.now() - start };
}

const serve = (bytes) => startDaemon("--model", model, "--cache", o.cache, "--cache-size", `${bytes}`,
    "--ctx-size", `${tokens + 2 * BLOCK}`, "--max-running", "1", "--max-body-size", "16MiB");

// Bytes of a block, whole: of one conversation's first.
async function measure() {
    const daemon = await serve(256 << 20);

    await complete(daemon, { prompt: prompt(0, 0).slice(0, BLOCK + 1), max_tokens: 1, session_id: "one" });
    const { bytes, mode } = (await ask(daemon, "GET", "/v1/sessions/one")).json;
    await daemon.stop();
    return { bytes, mode };
}

// Everybody comes, then everybody returns, the first first.
async function visit(bytes) {
    const daemon = await serve(bytes), came = [], returned = [];

    for (let who = 0; who < contexts; who++) came.push(await turn(daemon, who, 0));
    for (let who = 0; who < contexts; who++) returned.push(await turn(daemon, who, 40));
    const now = await metrics(daemon), health = (await ask(daemon, "GET", "/health")).json;
    await daemon.stop();
    return { came, returned, health, counted: (name) => series(now, `xquantd_${name}`) };
}

const mean = (list) => list.reduce((sum, t) => sum + t.ms, 0) / list.length;
const block = await measure();
const each = Math.ceil(tokens / BLOCK) * block.bytes, pool = Number(o.full) * each;
const few = await visit(pool);
const sealed = Math.floor(tokens / BLOCK) * BLOCK;
const whole = few.returned.filter((t) => t.cached_tokens >= sealed && !t.recomputed_tokens).length;
let same = null;

if (o.compare) {
    const all = await visit(contexts * each + 2 * block.bytes);

    same = all.returned.filter((t, who) => t.ids === few.returned[who].ids).length;
}
console.log(JSON.stringify({ mode: block.mode, contexts, tokens, pool_bytes: pool,
    full_bytes: each, used_bytes: few.health.cache.used_bytes,
    share: few.health.cache.used_bytes / contexts / each, returned: whole, same_answers: same,
    windows_dropped: few.counted("cache_windows_dropped_total"),
    evicted: few.counted("cache_evictions_total"),
    come_ms: Math.round(mean(few.came)), return_ms: Math.round(mean(few.returned)) }));
process.exitCode = whole === contexts && (same === null || same === contexts) ? 0 : 1;
