// flood.mjs - does one tenant that floods the server keep another waiting?
//
//   node tests/bench/flood.mjs [ROUNDS [SERVE OPTION...]]
//
// A tenant asks now and then, well below half of what the machine can do: short prompts, then long
// ones, none of them in the cache. Rounds alone and beside a tenant that keeps 32 long prompts on
// their way take turns, so that a busy machine slows both. Prints JSON: time to the first token,
// p50 and p95, of both kinds, alone and beside; and how much the flood still gets. Fails if a p95
// is moved by more than 1.2 times.
import { spawn } from "node:child_process";
import http from "node:http";
import { fileURLToPath } from "node:url";

import { complete, metrics, newFile, series, startDaemon } from "../api/daemon.mjs";

const FLOOD = 32, FLOOD_PROMPT = 1500, FLOOD_ANSWER = 64;
const MOST = 1.2;
const ROOM = ["--cache-size", "128MiB", "--workspace-size", "320MiB"]; // for as many as may run
const kinds = [{ name: "short", tokens: 40, asks: 24, pause: 150 }, { name: "long", tokens: 1000, asks: 8, pause: 900 }];
const self = fileURLToPath(import.meta.url);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ids = (n) => Array.from({ length: n }, () => 300 + Math.floor(Math.random() * 7000));

// One stream; resolves with the ms until its first event.
function first(port, key, body) {
    return new Promise((resolve, reject) => {
        const data = JSON.stringify({ ...body, stream: true, ignore_eos: true, temperature: 0 });
        const start = performance.now();
        let at;
        const request = http.request({ host: "127.0.0.1", port, method: "POST", path: "/v1/completions",
            headers: { authorization: `Bearer ${key}`, "content-type": "application/json",
                "content-length": data.length } }, (response) => {
            response.on("data", () => (at ??= performance.now() - start));
            response.on("end", () => (response.statusCode === 200 ? resolve(at)
                : reject(new Error(`status ${response.statusCode}`))));
        });

        request.on("error", reject);
        request.end(data);
    });
}

// The flood is a process of its own: what it costs to be a client is not the server's doing.
const [wanted = "6", ...options] = process.argv.slice(2);
if (wanted === "--flood") {
    const port = Number(options[0]);
    const one = async () => {
        for (;;) await first(port, "flood", { prompt: ids(FLOOD_PROMPT), max_tokens: FLOOD_ANSWER });
    };

    await Promise.all(Array.from({ length: FLOOD }, one)).catch(() => {});
    process.exit(0);
}

let daemon;
process.on("exit", () => daemon?.child.kill("SIGTERM"));
daemon = await startDaemon("--cache", "klt16", ...ROOM, "--api-key-file", newFile("victim\nflood\n"),
    ...options);

async function ask({ tokens, asks, pause }, times) {
    for (let i = 0; i < asks; i++) {
        times.push(await first(daemon.port, "victim", { prompt: ids(tokens), max_tokens: 4 }));
        await sleep(pause * (0.5 + Math.random()));
    }
}

async function beside(work) {
    const flood = spawn(process.execPath, [self, "--flood", String(daemon.port)], { stdio: "ignore" });
    const made = async () => series(await metrics(daemon), "xquantd_requests_running");

    while ((await made()) < 4) await sleep(50);
    await sleep(1000);
    await work();
    flood.kill("SIGKILL");
    while (await made()) await sleep(50);
}

const computed = async () => series(await metrics(daemon), "xquantd_prompt_tokens_total");
const at = (list, q) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))];
const result = {};

for (const kind of kinds) {
    const alone = [], crowd = [];
    let tokens = 0, seconds = 0;

    await ask({ ...kind, asks: 2 }, []); // warm
    for (let round = 0; round < Number(wanted); round++) {
        await ask(kind, alone);
        await beside(async () => {
            const from = await computed(), start = performance.now();

            await ask(kind, crowd);
            tokens += (await computed()) - from - kind.asks * kind.tokens;
            seconds += (performance.now() - start) / 1000;
        });
    }
    const figures = (list) => ({ n: list.length, p50: at(list, 0.5), p95: at(list, 0.95), longest: at(list, 1) });
    result[kind.name] = { alone: figures(alone), beside: figures(crowd), p50_ratio: at(crowd, 0.5) / at(alone, 0.5),
        p95_ratio: at(crowd, 0.95) / at(alone, 0.95), flood_prompt_tokens_a_second: tokens / seconds };
}
result.good = Object.values(result).every(({ p95_ratio }) => p95_ratio <= MOST);
console.log(JSON.stringify(result, null, 1));
await daemon.stop();
process.exitCode = result.good ? 0 : 1;
