// crowd.mjs - how many conversations live in one pool at once, each going on from its cache?
//
//   node tests/bench/crowd.mjs TEXT MODE [SESSIONS [SIZE [SERVE OPTION...]]]
//
// Every session sends 900 to 1,150 tokens of the text once, by HTTP, four at a time; then
// /v1/sessions and /metrics say who is still there; then each session that is whole sends its
// next turn, which must find all its sealed blocks. Prints JSON: sessions sent and alive, those whose
// next turn found everything, and how the process grew beside what it says it holds. With
// SESSIONS 0: as many as the pool has room for.
import { readFileSync } from "node:fs";

import { ask, chat, metrics, series, startDaemon } from "../api/daemon.mjs";

const [file, mode, wanted = "0", size = "256MiB", ...options] = process.argv.slice(2);
const AT_ONCE = 4, BLOCK = 128, SHORTEST = 910, LONGEST = 1100;
const text = readFileSync(file, "utf8").replace(/[^\x21-\x7e]+/g, " ");
let daemon;
process.on("exit", () => daemon?.child.kill("SIGTERM")); // after an error too
daemon = await startDaemon("--cache", mode, "--cache-size", size,
    "--max-running", String(AT_ONCE), ...options);
const bytes = (now, name) => series(now, `xquantd_${name}`);
const rss = (now) => now["process_resident_memory_bytes"];

async function eachAtOnce(items, work) {
    let next = 0;
    const worker = async () => {
        while (next < items.length) await work(items[next++]);
    };

    await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

// How many tokens a message makes, from the sentence that refuses an answer too long.
async function count(messages) {
    const refused = await chat(daemon, { messages, max_tokens: 1000000 });

    return Number(/\((\d+) in the messages/.exec(refused.text)[1]);
}

// Each session another passage, cut until it has the tokens wanted, give or take a few.
async function passage(i) {
    const wanted = SHORTEST + (i * 97) % (LONGEST - SHORTEST);
    const at = (i * 4871) % (text.length - 20000);
    let characters = 4 * wanted, messages, tokens;

    for (let tries = 0; tries < 6 && Math.abs((tokens ?? 0) - wanted) > 8; tries++) {
        messages = [{ role: "user", content: text.slice(at, at + characters) }];
        tokens = await count(messages);
        characters = Math.round(characters * wanted / tokens);
    }
    return messages;
}

async function say(s, maxTokens) {
    const answer = await chat(daemon, { messages: s.messages, max_tokens: maxTokens,
        temperature: 0, session_id: s.id });

    if (answer.status !== 200) throw new Error(answer.text);
    return answer.json;
}

const before = await metrics(daemon);
const capacity = bytes(before, "cache_capacity_tokens");
const sent = Array.from({ length: Number(wanted) || Math.floor(capacity / LONGEST) },
    (_, i) => ({ id: `crowd-${i}`, number: i }));
await eachAtOnce(sent, async (s) => {
    s.messages = await passage(s.number);
});
const start = Date.now();
await eachAtOnce(sent, async (s) => {
    const answer = await say(s, 16);

    s.total = answer.usage.total_tokens;
    s.sealed = Math.floor((s.total - 1) / BLOCK) * BLOCK;
    s.messages.push(answer.choices[0].message, { role: "user", content: "And then?" });
});
const filled = (Date.now() - start) / 1000;
const listed = new Map((await ask(daemon, "GET", "/v1/sessions")).json.data.map((s) => [s.id, s]));
const full = await metrics(daemon);
const alive = sent.filter((s) => listed.get(s.id)?.cached_tokens === s.sealed);
let found = 0;
// the oldest first: what a turn seals anew pushes out the least recently used
await eachAtOnce(alive, async (s) => {
    const { usage } = await say(s, 1);

    found += usage.prompt_tokens_details.cached_tokens >= s.sealed;
});
const after = await metrics(daemon);
const allowed = bytes(after, "cache_capacity_bytes") + bytes(after, "workspace_capacity_bytes") +
    bytes(after, "scratch_bytes") + bytes(after, "plan_bytes") + 64 * 1024 * 1024;
console.log(JSON.stringify({
    mode, cache_size: size, capacity_tokens: capacity, sent: sent.length,
    shortest: Math.min(...sent.map((s) => s.total)), longest: Math.max(...sent.map((s) => s.total)),
    alive: alive.length, next_turn_found_all: found,
    tokens_alive: alive.reduce((sum, s) => sum + s.total, 0),
    cache_used_bytes: bytes(full, "cache_used_bytes"), fill_seconds: filled,
    rss_before: rss(before), rss_after: rss(after), rss_grown: rss(after) - rss(before),
    rss_allowed: allowed,
}));
await daemon.stop();
process.exitCode = found === alive.length && rss(after) - rss(before) <= allowed ? 0 : 1;
