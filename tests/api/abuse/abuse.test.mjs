// abuse.test.mjs - every case of cases.mjs against the real daemon, a probe beside each.
//
// What must hold of all of them: the answers are those expected and nothing else comes, errors
// are JSON of OpenAI's shape, a connection that goes on is in step (it answers the next request,
// and that one only), and a completion of another client is right and in time. After the last
// one the daemon holds nothing, rests, and ends by itself.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { ask, complete, metrics, series, slowness, startDaemon, until } from "../daemon.mjs";
import cases from "./cases.mjs";
import { connect, play } from "./client.mjs";
import { runOne } from "./run.mjs";
import storms from "./storms.mjs";

const READ_SECONDS = 4 * slowness; // a request that is not complete by then is answered 408
const CASE_MS = 20000 * slowness;
const MARGIN_MS = 5000 * slowness; // a freeze is longer, the noise of a busy machine is not
const DRAIN_SECONDS = 10 * slowness;
const AT_ONCE = 4; // cases
const ROOM = ["--workspace-size", "320MiB"]; // for as many long streams as may run together

let daemon, alone;

// --- the others ---

const PROBE = { prompt: "The city of Paris is", max_tokens: 4, temperature: 0 };

async function timeProbe(of = daemon) {
    const start = performance.now();
    const answer = await complete(of, PROBE);

    assert.equal(answer.status, 200, answer.text);
    return { ms: performance.now() - start, text: answer.json.choices[0].text };
}

let prober; // the probe under way

async function checkProbe(of) {
    const { ms, text } = await timeProbe(of);

    assert.equal(text, alone.text, "another client's answer");
    assert.ok(ms <= 2 * alone.ms + MARGIN_MS, `another client waited ${Math.round(ms)} ms`);
}

// Probes, one after the other, until `over`; at least one that begins now or later. Cases that
// run at the same time share them.
async function probeUntil(over) {
    let go = true;

    over.finally(() => (go = false)).catch(() => {});
    await prober?.catch(() => {});
    do {
        prober ??= checkProbe().finally(() => (prober = undefined));
        await prober;
    } while (go);
}

// --- all of it ---

before(async () => {
    daemon = await startDaemon("--read-timeout", String(READ_SECONDS),
        "--shutdown-timeout", String(DRAIN_SECONDS), ...ROOM);
    await timeProbe();
    alone = await timeProbe();
});
after(() => daemon?.child.kill("SIGKILL"));

test("the table has 150 cases or more, each with a name of its own", () => {
    assert.ok(cases.length >= 150);
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
});

const checked = (one) => async () => {
    const over = runOne(daemon, one);

    await Promise.all([over, probeUntil(over)]);
};

describe("abuse", { concurrency: AT_ONCE }, () => {
    for (const one of cases.filter(({ slow }) => !slow)) test(one.name, checked(one));
});

// Each takes as long as the read timeout.
describe("abuse, slowly", { concurrency: true }, () => {
    for (const one of cases.filter(({ slow }) => slow)) test(one.name, checked(one));
});

// --- afterwards ---

const value = async (name) => series(await metrics(daemon), name);

// Seconds that the daemon has computed, from the kernel.
function cpuSeconds() {
    const fields = readFileSync(`/proc/${daemon.child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
}

test("afterwards the daemon is healthy and holds nothing", async () => {
    assert.equal((await ask(daemon, "GET", "/health")).status, 200);
    for (const name of ["xquantd_requests_running", "xquantd_requests_waiting"])
        await until(async () => (await value(name)) === 0, CASE_MS, name);
    await until(async () => (await value("xquantd_http_connections")) <= 2, CASE_MS, "connections");
});

test("afterwards it rests", async () => {
    const before = cpuSeconds();

    await new Promise((go) => setTimeout(go, 1000));
    assert.ok(cpuSeconds() - before < 0.5, "a core is busy with nothing");
});

test("no case was an error of the server's", async () => {
    const samples = await metrics(daemon);
    const failed = Object.keys(samples).filter((key) => /^xquantd_http_requests_total.*code="5/.test(key));

    assert.deepEqual(failed, []);
    const grave = daemon.log.split("\n").filter((line) => /"level":"(error|fatal)"|panic/.test(line));
    assert.deepEqual(grave, []);
});

test("SIGTERM ends it in time, and its pool is whole", async () => {
    const start = performance.now();

    assert.deepEqual(await daemon.stop(), { code: 0, signal: null }); // it recounts its pool
    assert.ok(performance.now() - start < DRAIN_SECONDS * 1000 + MARGIN_MS);
});

test("others are served, and SIGTERM ends it in time, while every storm rages", async () => {
    const own = await startDaemon("--shutdown-timeout", "2", ...ROOM);
    const clients = storms.flatMap(({ clients: n, script }) => Array.from({ length: n }, () => {
        const c = connect(own.port, false);
        c.over = play(c, script(), 60000).catch(() => {}); // some hear nothing of what they wait for
        return c;
    }));

    try {
        await new Promise((go) => setTimeout(go, 500));
        for (let i = 0; i < 3; i++) await checkProbe(own);
        assert.equal((await ask(own, "GET", "/health")).status, 200);
        const start = performance.now();
        assert.deepEqual(await own.stop(), { code: 0, signal: null });
        assert.ok(performance.now() - start < 2000 + MARGIN_MS);
    } finally {
        own.child.kill("SIGKILL");
        clients.forEach(({ socket }) => socket.destroy());
        await Promise.all(clients.map((c) => c.over));
    }
});
