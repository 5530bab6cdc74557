// scale.mjs - what a model of 1.2 B random weights costs: prompt, decoding, driven out, back again.
//
//   node tests/bench/scale.mjs FOLDER [--types Q8_0,Q4_K] [--modes kv16,xq4] [--prompt 600]
//
// The models are written into FOLDER by tests/tools unless they are there: llama, D 2048, 24
// layers, 32 heads of which 4 have keys and values, F 5632, the tokens of the embedded model. For
// each type: `xquantd bench`; then a server whose pool holds two conversations and a block of a
// third: the others drive out the end of the first, which is computed again, and comes back from
// the cache when it asks once more. With LLAMA_BENCH naming a binary, the same file is measured by
// it right after. Prints JSON; progress goes to the other stream.
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { complete, metrics, series, startDaemon } from "../api/daemon.mjs";

const { values: o, positionals: [folder] } = parseArgs({ allowPositionals: true, options: {
    types: { type: "string", default: "Q8_0,Q4_K" }, modes: { type: "string", default: "kv16,xq4" },
    prompt: { type: "string", default: "600" },
} });
const program = process.env.XQUANTD ?? "build/xquantd";
const tools = path.join(path.dirname(program), "tests/tools");
const MiB = 1024 * 1024;
const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const run = (file, ...args) => execFileSync(file, args,
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: 16 * MiB });

// The file of a type, written if it is not there yet.
function model(type) {
    const f16 = path.join(folder, "random-1b-f16.gguf"), file = f16.replace("f16", type);

    if (!existsSync(f16)) run(path.join(tools, "random_model"), f16);
    if (!existsSync(file)) run(path.join(tools, "requantize"), type, f16, file);
    return file;
}

// Ids of a text that no other number gives.
const text = (number, tokens) => Array.from({ length: tokens },
    (_, i) => 300 + (number * 7919 + i * 104729) % 7000);

// Three conversations where two fit, and a block: what the first answers, and how long it takes,
// each time.
async function evict(file, mode, blockBytes) {
    const tokens = Number(o.prompt), blocks = Math.floor(tokens / 128) + 1;
    const size = `${Math.ceil(blockBytes * (2 * blocks + 1) / MiB)}MiB`;
    const server = await startDaemon("--model", file, "--cache", mode, "--cache-size", size,
        "--ctx-size", "1024", "--max-running", "1");
    const visits = [];

    for (const [what, number] of [["new", 0], ["other", 1], ["other", 2], ["driven out", 0],
        ["cached", 0]]) {
        const began = performance.now();
        const r = await complete(server, { prompt: text(number, tokens), max_tokens: 16,
            temperature: 0, seed: 1, ignore_eos: true, return_token_ids: true });

        if (r.status !== 200) throw new Error(r.text);
        visits.push({ what, number, ms: performance.now() - began,
            cached: r.json.usage.prompt_tokens_details.cached_tokens,
            ids: r.json.choices[0].token_ids });
    }
    const evicted = series(await metrics(server), "xquantd_cache_evictions_total");
    await server.stop();
    const same = visits.filter((v) => v.number === 0)
        .every((v) => JSON.stringify(v.ids) === JSON.stringify(visits[0].ids));
    return { mode, pool: size, evicted_blocks: evicted, same_tokens: same,
        visits: visits.map(({ ids, ...rest }) => rest) };
}

function peer(file) {
    if (!process.env.LLAMA_BENCH) return null;
    const bench = (...args) => JSON.parse(run(process.env.LLAMA_BENCH, "-m", file, "-t", "2", "-r",
        "2", "-o", "json", ...args)).map((t) => ({ prompt: t.n_prompt, decode: t.n_gen,
        depth: t.n_depth, tokens_per_s: t.avg_ts }));

    return [...bench("-p", "512", "-n", "64"), ...bench("-p", "0", "-n", "32", "-d", "1024")];
}

const results = [];
for (const type of o.types.split(",")) {
    const file = model(type);
    say(`${type}: ${(statSync(file).size / MiB).toFixed(0)} MiB`);
    const ours = JSON.parse(run(program, "bench", "--model", file, "--cache", o.modes, "--repeat",
        "1", "--json"));
    say(`${type}: bench is through`);
    const evictions = [];
    for (const c of ours.contexts.filter((c) => c.tokens === 2048))
        evictions.push(await evict(file, c.mode, c.bytes_per_context / 16));
    say(`${type}: evictions are through`);
    results.push({ type, bytes: statSync(file).size, ours, evictions, peer: peer(file) });
}
console.log(JSON.stringify(results, null, 1));
