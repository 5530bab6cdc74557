// latency.mjs - what decoding clients notice of somebody else's long prompt.
//
//   node tests/bench/latency.mjs [SERVE OPTION...]
//
// Eight clients decode 256 tokens each, staggered by 16, first alone, then while a prompt of
// 1,900 tokens is read. Prints JSON: the gaps between events of each client (p50, p95, longest) in
// both, and how long the prompt takes alone and in company. Fails if p95 beside the prompt is more
// than three times what it is without, or the prompt takes more than four times as long.
import http from "node:http";

import { complete, startDaemon } from "../api/daemon.mjs";

const CLIENTS = 8, TOKENS = 256, STAGGER = 16, PROMPT = 1900;
let daemon;
process.on("exit", () => daemon?.child.kill("SIGTERM")); // after an error too
daemon = await startDaemon("--cache", "klt16", "--max-running", String(CLIENTS + 1),
    "--workspace-size", "512MiB", "--threads", "2", ...process.argv.slice(2));
const ids = (n, seed) => Array.from({ length: n }, (_, i) => 300 + ((seed * 7919 + i * 31) % 7500));

// One stream; onToken(count) after each event; resolves with the times of its events.
function stream(body, onToken) {
    return new Promise((resolve, reject) => {
        const data = JSON.stringify({ ...body, stream: true, ignore_eos: true, temperature: 0 });
        const times = [];
        const request = http.request({ host: "127.0.0.1", port: daemon.port, method: "POST",
            path: "/v1/completions", headers: { "content-type": "application/json",
                "content-length": data.length } }, (response) => {
            response.setEncoding("utf8");
            response.on("data", (text) => {
                for (const part of text.split("\n\n")) {
                    if (!part.startsWith("data: {")) continue;
                    times.push(performance.now());
                    onToken?.(times.length);
                }
            });
            response.on("end", () => resolve(times));
        });
        request.on("error", reject);
        request.end(data);
    });
}

// Client i starts when client i - 1 has STAGGER tokens. `atAll` runs when the last has some.
async function crowd(round, atAll) {
    const ends = [];
    const start = (i) => ends.push(stream({ prompt: ids(40, round * 100 + i), max_tokens: TOKENS },
        (n) => {
            if (n !== STAGGER) return;
            if (i + 1 < CLIENTS) start(i + 1);
            else extra = atAll?.();
        }));
    let extra, done = 0, all = [];

    start(0);
    while (done < ends.length) all.push(await ends[done++]);
    return { all, extra: await extra };
}

function gaps(all, from = 0, to = Infinity) {
    const list = [];

    for (const times of all)
        for (let i = 1; i < times.length; i++)
            if (times[i] >= from && times[i - 1] <= to) list.push(times[i] - times[i - 1]);
    list.sort((a, b) => a - b);
    const at = (q) => list[Math.min(list.length - 1, Math.floor(q * list.length))];
    return { n: list.length, p50: at(0.5), p95: at(0.95), longest: at(1) };
}

async function prefill(seed) {
    const start = performance.now();
    const answer = await complete(daemon, { prompt: ids(PROMPT, seed), max_tokens: 1 });

    if (answer.status !== 200) throw new Error(answer.text);
    return { start, end: performance.now() };
}

await prefill(1); // warm
const alone = await prefill(2);
await crowd(1);
const quiet = await crowd(2);
const busy = await crowd(3, () => prefill(3));
const { start, end } = busy.extra;
const before = gaps(quiet.all), during = gaps(busy.all, start, end);
const p95 = during.p95 / before.p95, prompt = (end - start) / (alone.end - alone.start);
console.log(JSON.stringify({ alone: before, beside_prefill: during, p95_ratio: p95,
    prefill_alone_ms: alone.end - alone.start, prefill_beside_ms: end - start,
    prefill_ratio: prompt }));
await daemon.stop();
process.exitCode = p95 <= 3 && prompt <= 4 ? 0 : 1;
