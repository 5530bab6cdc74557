// canaries.test.mjs - a few hundred requests of tenants with secrets: see canaries.mjs. Twenty
// thousand are `make canaries`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { makeTenants, runCanaries } from "./canaries.mjs";

const MODE = ["--cache", "klt16", "--block-tokens", "64", "--ctx-size", "512"];
const SMALL = ["--cache-size", "1MiB"]; // 10 blocks
let tenants;

before(async () => {
    tenants = await makeTenants(8, 1, MODE);
});

test("no tenant's answer has anything of another's, while blocks are evicted", async () => {
    const seen = await runCanaries(tenants, { requests: 400, clients: 8, options: [...MODE, ...SMALL] });

    assert.deepEqual(seen.faults, []);
    assert.deepEqual(seen.end, { code: 0, signal: null });
    assert.ok(seen.evictions > 100 && seen.hits > 20, JSON.stringify(seen));
    assert.ok(seen.told > 20, "the model says secrets"); // else nothing could have leaked by that
});

test("where prefixes may be shared, hits in what others have sent are seen", async () => {
    const seen = await runCanaries(tenants, { requests: 60, clients: 4,
        options: [...MODE, ...SMALL, "--share-prefixes"] });

    assert.ok(seen.faults.length >= tenants.length - 1, "the check of hits misses some");
    for (const fault of seen.faults) assert.match(fault, /a hit in what it never sent/);
});

test("nor while blocks are degraded", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "xquantd-canaries-"));
    const program = process.env.XQUANTD ?? "build/xquantd", model = path.join(folder, "small.gguf");
    const options = ["--model", model, "--cache", "klt8", "--block-tokens", "64", "--ctx-size", "512"];

    after(() => rmSync(folder, { recursive: true }));
    execFileSync(path.join(path.dirname(program), "tests/tools/random_model"), ["--d", "64",
        "--layers", "3", "--heads", "2", "--kv-heads", "2", "--ffn", "128", "--vocab", "8192",
        "--ctx", "2048", model]);
    execFileSync(program, ["calibrate", "--model", model], { stdio: "ignore" });
    const seen = await runCanaries(await makeTenants(8, 1, options), { requests: 200, clients: 8,
        degraded: true, options: [...options, "--degrade", "--cache-size", "96KiB"] });

    assert.deepEqual(seen.faults, []);
    assert.deepEqual(seen.end, { code: 0, signal: null });
    assert.ok(seen.degraded > 20, JSON.stringify(seen));
    assert.ok(seen.equal > 20 && seen.near > 20, JSON.stringify(seen));
});
