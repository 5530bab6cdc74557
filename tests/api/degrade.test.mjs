// degrade.test.mjs - --degrade: idle conversations get smaller before any is forgotten.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { ask, chat, metrics, series, startDaemon } from "./daemon.mjs";

const program = process.env.XQUANTD ?? "build/xquantd";
const folder = mkdtempSync(path.join(tmpdir(), "xquantd-degrade-"));
const model = path.join(folder, "small.gguf"), plan = path.join(folder, "small.xplan");
const MODE = "klt8", DENSER = "klt16";
let daemon;

before(async () => {
    execFileSync(path.join(path.dirname(program), "tests/tools/random_model"), ["--d", "64",
        "--layers", "3", "--heads", "2", "--kv-heads", "2", "--ffn", "128", "--vocab", "8192",
        "--ctx", "2048", model]);
    execFileSync(program, ["calibrate", "--model", model], { stdio: "ignore" });
});
after(() => rmSync(folder, { recursive: true }));

test("where no ratio is twice that of the mode, or none was measured, the start says so", () => {
    const serve = (...args) => spawnSync(program, ["serve", "--listen", "127.0.0.1:0",
        "--admin-listen", "off", "--model", model, "--degrade", ...args], { encoding: "utf8" });

    for (const mode of ["xq4", "klt33"]) {
        const refused = serve("--cache", mode);

        assert.equal(refused.status, 1);
        assert.match(refused.stderr, new RegExp(`--degrade with --cache ${mode}.*klt mode`));
    }
    renameSync(plan, `${plan}.away`);
    const missing = serve("--cache", MODE);
    writeFileSync(plan.replace(".xplan", ".klt8.xplan"), "XPLN\x01");
    const old = serve("--cache", MODE);
    renameSync(`${plan}.away`, plan);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /xquantd calibrate --model .*small\.gguf` makes its plan/);
    assert.equal(old.status, 1);
    assert.match(old.stderr, /--cache klt8: small\.klt8\.xplan: .*calibrate again/);
});

test("under pressure the oldest sessions are degraded, and say so, before one is lost", async () => {
    daemon = await startDaemon("--model", model, "--cache", MODE, "--degrade", "--cache-size",
        "512KiB", "--ctx-size", "1024");
    const turn = async (name) => {
        const messages = [{ role: "user", content: `Of ${name}: ${"a letter to read. ".repeat(40)}` }];
        const answer = await chat(daemon, { messages, max_tokens: 4, session_id: name });

        assert.equal(answer.status, 200, answer.text);
        return answer.json.usage.prompt_tokens_details.cached_tokens;
    };
    const sessions = async () => (await ask(daemon, "GET", "/v1/sessions")).json.data;
    const counted = async () => series(await metrics(daemon), "xquantd_cache_degraded_blocks_total");
    const names = [];

    assert.equal(await counted(), 0);
    while (!(await counted()) && names.length < 200) {
        names.push(`visitor ${names.length}`);
        await turn(names.at(-1));
    }
    const now = await metrics(daemon), list = await sessions();
    const whole = list.find((s) => s.mode === MODE);
    const degraded = list.filter((s) => s.mode !== MODE);

    assert.ok(degraded.length > 0 && whole, "there are both");
    for (const s of degraded) {
        assert.ok([DENSER, `${MODE}+${DENSER}`].includes(s.mode), s.mode);
        assert.ok(s.ratio > 1.2 * whole.ratio && s.ratio < 2.01 * whole.ratio, `${s.ratio}`);
        assert.ok(s.bytes / s.cached_tokens < whole.bytes / whole.cached_tokens);
    }
    assert.ok(list.every((s) => s.cached_tokens > 0), "nothing was lost");
    assert.equal(series(now, "xquantd_cache_evictions_total"), 0);
    assert.ok(series(now, "xquantd_cache_degraded_tokens") > 0);
    assert.ok(series(now, "xquantd_plan_bytes") > 2 * 3 * 64 * 64 * 4); // F32: Wk and Wv as well
    assert.ok(await turn(degraded.at(-1).id) > 0, "its next turn is served from the cache");
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});
