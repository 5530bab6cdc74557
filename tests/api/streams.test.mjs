// streams.test.mjs - many clients, clients that leave, and a server that stops.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";

import { ask, chat, complete, events, metrics, series, slowness, startDaemon, until } from "./daemon.mjs";

let daemon;

before(async () => {
    daemon = await startDaemon("--cache", "xq4");
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const running = async (of) => series(await metrics(of), "xquantd_requests_running");
const made = async (of) => series(await metrics(of), "xquantd_generation_tokens_total");

// Begin a stream and hang up after the first bytes.
function leave(of, body) {
    return new Promise((resolve, reject) => {
        const data = JSON.stringify(body);
        const request = http.request({ host: "127.0.0.1", port: of.port, method: "POST",
            path: "/v1/completions", headers: { "content-type": "application/json",
                "content-length": Buffer.byteLength(data) } },
        (response) => response.once("data", () => {
            request.destroy();
            resolve();
        }));
        request.on("error", reject);
        request.end(data);
    });
}

test("200 concurrent streams are complete, correct and in order", async () => {
    const ask1 = (i, stream) => ({ prompt: `The number ${i % 10} is`, max_tokens: 6, temperature: 0,
        ignore_eos: true, stream, stream_options: stream ? { include_usage: true } : undefined });
    const expected = [];

    for (let i = 0; i < 10; i++)
        expected.push((await complete(daemon, ask1(i, false))).json.choices[0].text);
    const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) => complete(daemon, ask1(i, true))));
    answers.forEach((answer, i) => {
        assert.equal(answer.status, 200, answer.text);
        const all = events(answer.text);
        assert.equal(all.at(-1), "[DONE]");
        assert.equal(all.at(-2).usage.completion_tokens, 6);
        const text = all.slice(0, -1).flatMap((e) => e.choices).map((c) => c.text).join("");
        assert.equal(text, expected[i % 10]);
        assert.equal(all.at(-3).choices[0].finish_reason, "length");
    });
});

test("a client that leaves a stream stops its computation within 200 ms", async () => {
    for (let round = 0; round < 3; round++) {
        await leave(daemon, { prompt: "Once upon a time", max_tokens: 1500, stream: true,
            ignore_eos: true });
        await until(async () => (await running(daemon)) === 0, 200 * slowness, "requests_running falls");
        const tokens = await made(daemon);
        await new Promise((resolve) => setTimeout(resolve, 100));
        assert.equal(await made(daemon), tokens);
    }
});

test("a client that leaves while its answer is whole is noticed too", async () => {
    const data = JSON.stringify({ prompt: "Once upon a time", max_tokens: 1500, ignore_eos: true });
    const request = http.request({ host: "127.0.0.1", port: daemon.port, method: "POST",
        path: "/v1/completions", headers: { "content-type": "application/json",
            "content-length": Buffer.byteLength(data) } });
    request.on("error", () => {});
    request.end(data);
    await until(async () => (await running(daemon)) === 1, 5000, "the request runs");
    request.destroy();
    await until(async () => (await running(daemon)) === 0, 200 * slowness, "requests_running falls");
});

test("a full queue answers 429 with Retry-After, and health answers meanwhile", async () => {
    const small = await startDaemon("--max-queue", "2");
    const long = { prompt: "Once", max_tokens: 300, ignore_eos: true };

    try {
        const answers = Promise.all(Array.from({ length: 8 }, () => complete(small, long)));
        const health = await ask(small, "GET", "/health");
        assert.equal(health.status, 200);
        const statuses = (await answers).map((a) => a.status);
        const refused = (await answers).find((a) => a.status === 429);
        assert.ok(statuses.filter((s) => s === 200).length >= 2);
        assert.ok(refused, String(statuses));
        assert.ok(Number(refused.headers["retry-after"]) >= 1);
        assert.ok(Number(refused.headers["retry-after"]) <= 30);
        assert.equal(refused.json.error.code, "rate_limit_exceeded");
    } finally {
        await small.stop();
    }
});

test("a stream that waits has no headers yet, and is refused in time", async () => {
    const small = await startDaemon("--max-running", "1", "--request-timeout", "2");
    const long = { prompt: "Once", max_tokens: 1500, ignore_eos: true, stream: true };

    try {
        const first = complete(small, long);
        await until(async () => (await running(small)) === 1, 5000, "the first runs");
        const rest = await Promise.all(Array.from({ length: 6 }, () => complete(small, long)));
        const late = rest.filter((a) => a.status !== 200);

        assert.equal((await first).status, 200);
        for (const answer of late) assert.equal(answer.json.error.code, rest.at(-1).json.error.code);
        assert.ok(late.length > 0 && late.every((a) => a.status >= 429), String(late.length));
        await until(async () => (await running(small)) === 0, 2000, "nothing is left");
        assert.equal((await complete(small, { prompt: "Once", max_tokens: 2 })).status, 200);
    } finally {
        await small.stop();
    }
});

test("SIGTERM lets a running stream finish, refuses new work, and exits 0", async () => {
    const own = await startDaemon("--shutdown-timeout", "20");
    const body = { prompt: "Once upon a time", max_tokens: 400, stream: true, ignore_eos: true };
    const answer = complete(own, body);

    await until(async () => (await made(own)) > 3, 5000, "the stream runs");
    own.child.kill("SIGTERM");
    await until(async () => (await ask(own, "GET", "/readyz", undefined, {}, own.adminPort))
        .status === 503, 2000, "readiness turns 503");
    assert.equal(events((await answer).text).at(-1), "[DONE]");
    assert.deepEqual(await own.exited, { code: 0, signal: null });
});

test("SIGTERM aborts what outlasts the drain time with an error event", async () => {
    const own = await startDaemon("--shutdown-timeout", "0");
    const answer = chat(own, { messages: [{ role: "user", content: "Tell me a long story." }],
        max_tokens: 1900, stream: true, ignore_eos: true });

    await until(async () => (await made(own)) > 3, 5000, "the stream runs");
    own.child.kill("SIGTERM");
    const last = events((await answer).text).filter((e) => e !== "[DONE]").at(-1);
    assert.ok(last.error?.message, JSON.stringify(last));
    assert.deepEqual(await own.exited, { code: 0, signal: null });
});

test("an address in use is one clear sentence and exit code 1", async () => {
    const { spawnSync } = await import("node:child_process");
    const other = spawnSync(process.env.XQUANTD ?? "build/xquantd",
        ["serve", "--listen", `127.0.0.1:${daemon.port}`, "--admin-listen", "off"]);

    assert.equal(other.status, 1);
    assert.match(String(other.stderr), new RegExp(`127.0.0.1:${daemon.port}`));
});
