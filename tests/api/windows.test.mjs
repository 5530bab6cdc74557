// windows.test.mjs - a model with sliding windows: twice as many conversations stay, a rewind says what
// it computes again, and what is pinned goes on at once.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { ask, complete, metrics, series, startDaemon } from "./daemon.mjs";

const program = process.env.XQUANTD ?? "build/xquantd";
const folder = mkdtempSync(path.join(tmpdir(), "xquantd-windows-"));
const model = path.join(folder, "windows.gguf");
// Blocks of 128 tokens; behind 8 of them a window of 256 begins in the 7th. One layer of six sees all.
const BLOCK = 128, LENGTH = 8 * BLOCK, MANY = 7;
let daemon, block, narrow;

const ids = (who, n) => Array.from({ length: n }, (_, i) => 3 + (i * 7 + who * 31 + (i >> 7)) % 200);
// `n` tokens of conversation `who`, as a session of that name where it has one.
async function turn(who, n, more = {}) {
    const { status, json, text } = await complete(daemon, { prompt: ids(who, n), max_tokens: 1,
        temperature: 0, return_token_ids: true, ...more });

    assert.equal(status, 200, text);
    const { cached_tokens: cached, recomputed_tokens: recomputed } = json.usage.prompt_tokens_details;
    return { cached, recomputed, said: json.choices[0].token_ids };
}
const counted = async (name) => series(await metrics(daemon), `xquantd_${name}`);
const session = async (name) => (await ask(daemon, "GET", `/v1/sessions/${name}`)).json;
const start = async (blocks) => daemon = await startDaemon("--model", model, "--cache", "kivi4",
    "--cache-size", blocks ? `${blocks * block}` : "64MiB", "--ctx-size", `${LENGTH + BLOCK}`);

before(async () => {
    execFileSync(path.join(path.dirname(program), "tests/tools/random_model"), ["--arch", "gemma3",
        "--layers", "6", "--d", "64", "--heads", "2", "--kv-heads", "1", "--head-dim", "32", "--ffn", "128",
        "--window", "256", "--vocab", "8192", "--ctx", "2048", model]);
    await start();
    await turn(0, BLOCK + 1, { session_id: "one" });
    block = (await session("one")).bytes;
    await daemon.stop();
});
after(() => rmSync(folder, { recursive: true }));

test("more than twice as many conversations return as fit in full, and say the same", async () => {
    const first = [];

    await start(3 * 8 + 1);
    for (let who = 0; who < MANY; who++) first.push(await turn(who, LENGTH + 1));
    for (let who = 0; who < MANY; who++) {
        const { cached, recomputed, said } = await turn(who, LENGTH + 1);

        assert.deepEqual([cached, recomputed], [LENGTH, 0]);
        assert.deepEqual(said, first[who].said);
    }
    assert.equal(await counted("cache_evictions_total"), 0);
    assert.ok(await counted("cache_windows_dropped_total") > 4 * MANY);
    assert.ok(await counted("cache_narrow_tokens") > 4 * MANY * BLOCK);
    assert.equal(await counted("prefix_cache_recomputed_tokens_total"), 0);
});

test("a rewind computes again what only a rewind would need, and says so", async () => {
    const before = await turn(0, LENGTH / 2 + 1); // gone long ago: the pool is full of others'

    assert.deepEqual([before.cached, before.recomputed], [0, LENGTH / 2]);
    assert.equal(await counted("prefix_cache_recomputed_tokens_total"), LENGTH / 2);
    const again = await turn(0, LENGTH / 2 + 1); // computed just now
    assert.deepEqual([again.cached, again.recomputed, again.said], [LENGTH / 2, 0, before.said]);
    const on = await turn(0, LENGTH + 1); // and its end is still where it was
    assert.deepEqual([on.cached, on.recomputed], [LENGTH, 0]);
    assert.equal(await counted("cache_evictions_total"), 0);
});

test("health, metrics and sessions count what windows have passed", async () => {
    await daemon.stop();
    await start(40);
    await turn(1, LENGTH + 1, { session_id: "long" });
    const whole = await session("long"), kept = await counted("cache_rewind_bytes");
    const health = (await ask(daemon, "GET", "/health")).json;

    assert.equal(whole.bytes, 8 * block);
    assert.ok(kept > 4 * block && kept < 6 * block, `${kept} bytes of six blocks`);
    narrow = block - kept / 6;
    assert.equal(health.cache.rewind_bytes, kept);
    // as a context of that length takes: 7 blocks in full, 2 where it ends
    assert.equal(health.cache.context_tokens, LENGTH + BLOCK);
    assert.equal(health.cache.contexts, Math.floor(40 * block / (2 * block + 7 * narrow)));
    assert.match(daemon.log, new RegExp(`= ${health.cache.contexts} contexts of`));
});

test("what is pinned goes on at once, forks and cancelled answers leave nothing behind", async () => {
    assert.equal((await ask(daemon, "POST", "/v1/sessions/long/pin")).status, 200);
    assert.equal((await ask(daemon, "POST", "/v1/sessions/long/fork", { id: "twin" })).status, 200);
    for (let who = 2; who < 14; who++) await turn(who, LENGTH + 1, { n: who % 2 + 1 });
    const gone = AbortSignal.timeout(50);
    await fetch(`${daemon.url}/v1/completions`, { method: "POST", signal: gone,
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt: ids(99, LENGTH), max_tokens: 100, ignore_eos: true }) })
        .then((r) => r.text()).catch(() => {});
    assert.ok(await counted("cache_evictions_total") > 0);
    const pinned = await session("long");
    assert.deepEqual([pinned.cached_tokens, pinned.pinned], [LENGTH, true]);
    assert.equal(pinned.bytes, 2 * block + 6 * narrow);
    assert.equal(pinned.shared_bytes, pinned.bytes);
    const { cached, recomputed } = await turn(1, LENGTH + 2, { session_id: "twin" });
    assert.deepEqual([cached, recomputed], [LENGTH, 0]);
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});
