// sessions.test.mjs - conversations by name: what they keep, who sees them, pin, fork, delete.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ask, chat, metrics, newFile, series, startDaemon } from "./daemon.mjs";

let daemon;

before(async () => {
    daemon = await startDaemon("--cache", "xq4");
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const long = (seed, n = 60) => Array.from({ length: n },
    (_, i) => `Line ${seed}-${i} of a long letter.`).join(" ");

async function say(messages, more = {}, headers = {}, to = daemon) {
    const answer = await ask(to, "POST", "/v1/chat/completions",
        { messages, max_tokens: 40, temperature: 1, seed: 7, ...more }, headers);

    assert.equal(answer.status, 200, answer.text);
    return { text: answer.json.choices[0].message.content, usage: answer.json.usage,
        cached: answer.json.usage.prompt_tokens_details.cached_tokens };
}

const get = async (path, headers = {}, to = daemon) =>
    (await ask(to, "GET", path, undefined, headers)).json;
const act = (name, what, body, headers = {}, to = daemon) =>
    ask(to, "POST", `/v1/sessions/${name}/${what}`, body, headers);

// A second turn with the reply as a client sends it back; all sealed blocks must be cached.
async function twoTurns(name, edit, headers = {}) {
    const messages = [{ role: "user", content: long(name) }];
    const first = await say(messages, { session_id: name, max_tokens: 200, ignore_eos: true }, headers);
    const sealed = Math.floor((first.usage.prompt_tokens + 200 - 1) / 128) * 128;

    messages.push({ role: "assistant", content: edit(first.text) },
        { role: "user", content: "And then?" });
    return { sealed, second: await say(messages, { session_id: name }, headers) };
}

test("a reply that comes back is found whole, trimmed or not", async () => {
    for (const [name, edit] of [["whole", (x) => x], ["trimmed", (x) => x.trimEnd()]]) {
        const { sealed, second } = await twoTurns(name, edit);

        assert.ok(sealed >= 256);
        assert.equal(second.cached, sealed, name);
    }
});

test("a session tells what it holds", async () => {
    const one = await get("/v1/sessions/whole");
    const now = await metrics(daemon);

    assert.equal(one.id, "whole");
    assert.equal(one.object, "session");
    assert.equal(one.mode, "xq4");
    assert.equal(one.bytes, one.cached_tokens / 128 * 418304);
    assert.ok(one.tokens > one.cached_tokens && one.tokens - one.cached_tokens <= 129);
    assert.ok(Math.abs(one.ratio - 3145728 / 418304) < 0.01);
    assert.ok(Math.abs(one.last_used - Date.now() / 1000) < 60);
    assert.equal(one.state, "hot");
    assert.equal(one.pinned, false);
    assert.equal(one.shared_bytes, 0);
    const list = await get("/v1/sessions");
    assert.equal(list.object, "list");
    assert.deepEqual(list.data.map((s) => s.id), ["trimmed", "whole"]); // the latest first
    assert.ok(series(now, "xquantd_cache_tokens") >= one.cached_tokens);
});

test("a body's session_id counts more than the header, prompt_cache_key is a hint", async () => {
    const messages = [{ role: "user", content: "Hello." }];

    await say(messages, { session_id: "by-body" }, { "x-session-id": "by-header" });
    await say(messages, { prompt_cache_key: "by-hint" }, { "x-session-id": "by-header-2" });
    await say(messages, { prompt_cache_key: "by-hint" });
    await say(messages, { prompt_cache_key: "x".repeat(300) });
    await say(messages);
    const names = (await get("/v1/sessions")).data.map((s) => s.id);
    assert.deepEqual(names.slice(0, 3), ["by-hint", "by-header-2", "by-body"]);
    assert.equal(names.length, 5);
    const refused = await chat(daemon, { messages, session_id: "x".repeat(257) });
    assert.equal(refused.status, 400);
    assert.equal(refused.json.error.param, "session_id");
    assert.equal((await chat(daemon, { messages, session_id: 7 })).status, 400);
});

test("a session is its key's and its salt's own", async () => {
    const other = await startDaemon("--api-key-file", newFile("mine\nyours\n"));
    const messages = [{ role: "user", content: "Mine." }];
    const key = { authorization: "Bearer mine" }, yours = { authorization: "Bearer yours" };

    await say(messages, { session_id: "private" }, key, other);
    await say(messages, { session_id: "salted", cache_salt: "s" }, key, other);
    assert.deepEqual((await get("/v1/sessions", key, other)).data.map((s) => s.id), ["private"]);
    assert.deepEqual((await get("/v1/sessions", { ...key, "x-cache-salt": "s" }, other)).data
        .map((s) => s.id), ["salted"]);
    assert.ok(!(await get("/v1/sessions", yours, other)).data.some((s) => s.id === "private"));
    for (const [method, path] of [["GET", ""], ["DELETE", ""], ["POST", "/pin"], ["POST", "/unpin"],
        ["POST", "/fork"]]) {
        const answer = await ask(other, method, `/v1/sessions/private${path}`, undefined,
            yours);

        assert.equal(answer.status, 404, method + path);
        assert.equal(answer.json.error.code, "session_not_found");
    }
    assert.deepEqual(await other.stop(), { code: 0, signal: null });
});

test("a fork shares its blocks, and goes its own way", async () => {
    const messages = [{ role: "user", content: long("fork") }];
    const first = await say(messages, { session_id: "trunk" });
    const made = await act("trunk", "fork", { id: "branch" });

    assert.equal(made.status, 200, made.text);
    assert.equal(made.json.id, "branch");
    assert.equal(made.json.shared_bytes, made.json.bytes);
    assert.ok(made.json.bytes > 0);
    assert.equal((await act("trunk", "fork", { id: "branch" })).status, 409);
    assert.match((await act("trunk", "fork")).json.id, /^session-[0-9a-f]{32}$/);
    assert.equal((await act("trunk", "fork", { id: 3 })).status, 400);
    assert.equal((await act("trunk", "fork", "[")).status, 400);
    messages.push({ role: "assistant", content: first.text }, { role: "user", content: "Go on." });
    const next = await say(messages, { session_id: "branch" });
    assert.ok(next.cached >= made.json.cached_tokens);
});

test("a deleted session's own blocks are gone, those of a fork stay", async () => {
    const used = async () => series(await metrics(daemon), "xquantd_cache_used_bytes");
    const messages = [{ role: "user", content: long("delete") }];
    const earlier = await used();

    await say(messages, { session_id: "gone" });
    const bytes = (await used()) - earlier;
    assert.ok(bytes > 0);
    await act("gone", "fork", { id: "stays" });
    const deleted = await ask(daemon, "DELETE", "/v1/sessions/gone");
    assert.equal(deleted.status, 200);
    assert.deepEqual(deleted.json, { id: "gone", object: "session.deleted", deleted: true });
    assert.equal((await ask(daemon, "GET", "/v1/sessions/gone")).status, 404);
    assert.equal((await used()) - earlier, bytes);
    await ask(daemon, "DELETE", "/v1/sessions/stays");
    assert.equal(await used(), earlier);
    assert.equal((await ask(daemon, "PUT", "/v1/sessions/x")).headers.allow,
        "GET, HEAD, DELETE, OPTIONS");
});

test("what is pinned outlives a flood; a pool cannot be pinned full", async () => {
    // 26 blocks: a context of full length has 16, so 10 may be pinned
    const small = await startDaemon("--cache", "xq4", "--cache-size", String(26 * 418304));
    const letter = (name) => [{ role: "user", content: long(name, 90) }];
    const flood = async (n) => {
        for (let i = 0; i < n; i++) await say(letter(`flood${n}${i}`), {}, {}, small);
    };

    try {
        const first = await say(letter("kept"), { session_id: "kept" }, {}, small);
        const pinned = await act("kept", "pin", undefined, {}, small);
        const blocks = pinned.json.cached_tokens / 128;

        assert.equal(pinned.status, 200, pinned.text);
        assert.equal(pinned.json.pinned, true);
        assert.ok(blocks >= 6 && blocks <= 10, `${blocks} blocks`);
        await say(letter("other"), { session_id: "other" }, {}, small);
        const refused = await act("other", "pin", undefined, {}, small);
        assert.equal(refused.status, 409);
        assert.equal(refused.json.error.code, "cache_full");
        await flood(8);
        assert.equal((await get("/v1/sessions/other", {}, small)).bytes, 0);
        assert.equal((await get("/v1/sessions/kept", {}, small)).cached_tokens, 128 * blocks);
        assert.equal((await metrics(small))['xquantd_cache_tokens{tier="memory",state="pinned"}'],
            128 * blocks);
        const again = [...letter("kept"), { role: "assistant", content: first.text },
            { role: "user", content: "Go on." }];
        assert.equal((await say(again, { session_id: "kept" }, {}, small)).cached, 128 * blocks);
        assert.equal((await act("kept", "unpin", undefined, {}, small)).json.pinned, false);
        await flood(9);
        assert.equal((await get("/v1/sessions/kept", {}, small)).bytes, 0);
    } finally {
        assert.deepEqual(await small.stop(), { code: 0, signal: null });
    }
});

test("a session says where a prompt parted from its past, and is kept for a day where asked to", async () => {
    const messages = [{ role: "user", content: long("parted") }];
    const { text } = await say(messages, { session_id: "parted", prompt_cache_retention: "24h" });
    const seen = async () => get("/v1/sessions/parted");

    assert.deepEqual([(await seen()).parted_at, (await seen()).pinned], [null, true]);
    messages.push({ role: "assistant", content: text }, { role: "user", content: "Go on." });
    await say(messages, { session_id: "parted" });
    assert.equal((await seen()).parted_at, null);
    const { tokens } = await seen();
    messages[2].content = "Or else?";
    await say(messages, { session_id: "parted" });
    const { parted_at } = await seen();
    assert.ok(parted_at > tokens / 2 && parted_at < tokens, `${parted_at} of ${tokens}`);
    assert.equal((await act("parted", "unpin")).json.pinned, false);
});

test("metrics count sessions, hot and idle", async () => {
    const count = async () => {
        const now = await metrics(daemon);

        return now['xquantd_sessions{state="hot"}'] + now['xquantd_sessions{state="idle"}'];
    };

    assert.equal(await count(), (await get("/v1/sessions")).data.length);
});
