// cache.test.mjs - what /metrics says of the cache is what the cache holds.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";

import { ask, complete, metrics, newFile, series, startDaemon } from "./daemon.mjs";

let daemon;
const ids = (n, from) => Array.from({ length: n }, (_, i) => 100 + ((from + i * 7) % 5000));

before(async () => {
    daemon = await startDaemon("--cache", "xq4");
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("a prompt of N tokens and one more raises used bytes by floor(N/128) blocks", async () => {
    const block = 418304; // xq4 of the embedded model, token ids included

    for (const n of [1, 127, 128, 129, 255, 256, 700]) {
        const earlier = await metrics(daemon);
        const answer = await complete(daemon, { prompt: ids(n, n), max_tokens: 1 });
        const now = await metrics(daemon);

        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.usage.prompt_tokens, n);
        assert.equal(series(now, "xquantd_cache_used_bytes") -
            series(earlier, "xquantd_cache_used_bytes"), Math.floor(n / 128) * block);
        assert.equal(series(now, "xquantd_cache_used_bytes") +
            series(now, "xquantd_cache_free_bytes"), series(now, "xquantd_cache_capacity_bytes"));
    }
    const now = await metrics(daemon);
    const ratio = series(now, "xquantd_cache_compression_ratio");
    assert.ok(Math.abs(ratio - 3145728 / block) < 0.01, `ratio ${ratio}`);
    assert.equal(series(now, "xquantd_plan_bytes"), 0); // Q8_0: the packed Wk and Wv serve
});

test("metrics pass promtool, on both listeners, with the exact content type", async (t) => {
    for (const port of [daemon.port, daemon.adminPort]) {
        const answer = await ask(daemon, "GET", "/metrics", undefined, {}, port);

        assert.equal(answer.status, 200);
        assert.equal(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        const check = spawnSync("promtool", ["check", "metrics"], { input: answer.text });
        if (check.error) return t.skip("promtool is not here");
        assert.equal(check.status, 0, String(check.stderr) + String(check.stdout));
    }
});

test("the group size is the mode's, and 0 where no group shares a scale", async () => {
    for (const [mode, size] of [["kv16", 0], ["klt16", 0], ["kivi4", 128]]) {
        const other = await startDaemon("--cache", mode);
        const prompt = ids(300, 1);

        for (let i = 0; i < 2; i++) await complete(other, { prompt, max_tokens: 2 });
        const now = await metrics(other);
        assert.equal(series(now, "xquantd_model_info", `group_size="${size}"`), 1, mode);
        assert.equal(series(now, "xquantd_remat_seconds_total") > 0, mode !== "kv16", mode);
        await other.stop();
    }
    assert.equal(series(await metrics(daemon), "xquantd_model_info", 'group_size="128"'), 1);
});

test("counters never fall and histograms are cumulative", async () => {
    const earlier = await metrics(daemon);
    await complete(daemon, { prompt: "one two three", max_tokens: 5 });
    const now = await metrics(daemon);

    for (const [key, value] of Object.entries(earlier))
        if (/_total(\{|$)/.test(key)) assert.ok(now[key] >= value, key);
    const buckets = Object.entries(now)
        .filter(([key]) => key.startsWith("xquantd_time_to_first_token_seconds_bucket"));
    for (let i = 1; i < buckets.length; i++) assert.ok(buckets[i][1] >= buckets[i - 1][1]);
    assert.ok(buckets.length > 10);
    assert.equal(buckets.at(-1)[1], series(now, "xquantd_time_to_first_token_seconds_count"));
});

test("a full pool frees ended contexts and goes on", async () => {
    const small = await startDaemon("--cache", "xq4", "--cache-size", "2MiB"); // 5 blocks

    try {
        for (let i = 0; i < 5; i++) {
            const answer = await complete(small, { prompt: ids(400, i * 13), max_tokens: 2 });
            assert.equal(answer.status, 200, answer.text);
        }
        const now = await metrics(small);
        assert.ok(series(now, "xquantd_cache_evictions_total") >= 9);
        assert.ok(series(now, "xquantd_cache_used_bytes") <= 2 * 1024 * 1024);
        const large = await complete(small, { prompt: ids(900, 1), max_tokens: 1 });
        assert.ok(large.status >= 400 && large.status < 600 && large.json.error.message);
    } finally {
        await small.stop();
    }
});

test("what is cached is shared within one API key and one salt only", async () => {
    const other = await startDaemon("--cache", "xq4", "--api-key-file", newFile("a\nb\nc\n"));
    const prompt = ids(300, 4000);
    const cached = async (headers, body = {}) => {
        const answer = await ask(other, "POST", "/v1/completions",
            { prompt, max_tokens: 1, ...body }, headers);

        assert.equal(answer.status, 200, answer.text);
        return answer.json.usage.prompt_tokens_details.cached_tokens;
    };
    const key = (name) => ({ authorization: `Bearer ${name}` });

    assert.equal(await cached(key("a")), 0);
    assert.equal(await cached(key("a")), 256);
    assert.equal(await cached(key("b")), 0);
    assert.equal(await cached(key("c")), 0);
    assert.equal(await cached(key("a"), { cache_salt: "s" }), 0);
    assert.equal(await cached(key("a"), { cache_salt: "s" }), 256);
    assert.equal(await cached(key("b")), 256);
    const refused = await ask(other, "POST", "/v1/completions",
        { prompt, cache_salt: "x".repeat(1025) }, key("a"));
    assert.equal(refused.status, 400);
    assert.equal(refused.json.error.param, "cache_salt");
    await other.stop();
});

test("with --share-prefixes the key does not matter, the salt does", async () => {
    const other = await startDaemon("--cache", "xq4", "--share-prefixes",
        "--api-key-file", newFile("a\nb\n"));
    const cached = async (name, salt) => (await ask(other, "POST", "/v1/completions",
        { prompt: ids(300, 1), max_tokens: 1, cache_salt: salt },
        { authorization: `Bearer ${name}` })).json.usage.prompt_tokens_details.cached_tokens;

    assert.equal(await cached("a"), 0);
    assert.equal(await cached("b"), 256);
    assert.equal(await cached("b", "s"), 0);
    assert.deepEqual(await other.stop(), { code: 0, signal: null });
});
