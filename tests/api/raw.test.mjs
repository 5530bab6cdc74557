// raw.test.mjs - what sockets can send that no client library would: no crash, a clear
// refusal or the right answer, and the server goes on.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";

import { ask, rawRequest, startDaemon, until } from "./daemon.mjs";

let daemon;

before(async () => {
    daemon = await startDaemon("--max-body-size", "1MiB", "--read-timeout", "2");
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const H = "Host: localhost\r\nContent-Type: application/json\r\n";
const GET2 = `GET /livez HTTP/1.1\r\n${H}\r\n`;
const refused = /^HTTP\/1\.[01] (400|405|408|411|413|414|417|431|501|505)/;
const closedOrRefused = (got) => got === "" || refused.test(got);

// name, request, what must hold of the answer
const cases = [
    ["no Host", "GET /livez HTTP/1.1\r\n\r\n", closedOrRefused],
    ["two Hosts", `GET /livez HTTP/1.1\r\n${H}Host: y\r\n\r\n`, closedOrRefused],
    ["bad length", `POST /v1/completions HTTP/1.1\r\n${H}Content-Length: abc\r\n\r\n`,
        closedOrRefused],
    ["negative length", `POST /v1/completions HTTP/1.1\r\n${H}Content-Length: -1\r\n\r\n`,
        closedOrRefused],
    ["length and chunked", `POST /v1/completions HTTP/1.1\r\n${H}Content-Length: 3\r\n` +
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", closedOrRefused],
    ["two lengths", `POST /v1/completions HTTP/1.1\r\n${H}Content-Length: 3\r\n` +
        `Content-Length: 5\r\n\r\nabc${GET2}`,
    (got) => refused.test(got) && !got.includes("200 OK")],
    ["unknown transfer encoding", `POST /v1/completions HTTP/1.1\r\n${H}` +
        "Transfer-Encoding: xchunked\r\n\r\n", closedOrRefused],
    ["space before colon", `POST /v1/completions HTTP/1.1\r\n${H}Transfer-Encoding : chunked\r\n` +
        `Content-Length: 5\r\n\r\n0\r\n\r\n${GET2}`, (got) => !got.includes("200 OK")],
    ["bad chunk size", `POST /v1/completions HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n` +
        "zz\r\nabc\r\n0\r\n\r\n", closedOrRefused],
    ["chunk extension", `POST /v1/completions HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n` +
        "2;a=b\r\n{}\r\n0\r\n\r\n", (got) => refused.test(got)],
    ["NUL in the path", `GET /v1/models/a%00b HTTP/1.1\r\n${H}\r\n`, (got) => refused.test(got)],
    ["long URL", `GET /${"a".repeat(70000)} HTTP/1.1\r\n${H}\r\n`, closedOrRefused],
    ["lower-case method", `get /livez HTTP/1.1\r\n${H}\r\n`, (got) => refused.test(got)],
    ["NUL in a header", `GET /livez HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`,
        (got) => got === "" || got.startsWith("HTTP/1.1")],
    ["bare LF", "GET /livez HTTP/1.1\nHost: localhost\n\n",
        (got) => got === "" || got.startsWith("HTTP/1.1")],
    ["folded header", `GET /livez HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`,
        (got) => got === "" || got.startsWith("HTTP/1.1")],
    ["unknown expectation", `GET /livez HTTP/1.1\r\n${H}Expect: foo\r\n\r\n`,
        (got) => got === "" || got.startsWith("HTTP/1.1")],
    ["absolute URI", "GET http://h/livez HTTP/1.1\r\nHost: h\r\n\r\n",
        (got) => got.startsWith("HTTP/1.1")],
    ["no HTTP at all", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", closedOrRefused],
    ["HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n", (got) => /^HTTP\/1\.[01] 200/.test(got)],
    ["HEAD", `HEAD /livez HTTP/1.1\r\n${H}\r\n`, (got) => got.startsWith("HTTP/1.1 200")],
    ["HEAD of a POST route", `HEAD /v1/completions HTTP/1.1\r\n${H}\r\n`,
        (got) => got.startsWith("HTTP/1.1 405") && /\r\nAllow: /i.test(got)],
    ["pipelining", GET2 + GET2 + GET2, (got) => got.split("HTTP/1.1 200").length === 4],
];

for (const [name, bytes, holds] of cases)
    test(`raw: ${name}`, async () => {
        const got = await rawRequest(daemon, Buffer.from(bytes, "latin1"));
        assert.ok(holds(got), JSON.stringify(got.slice(0, 300)));
        assert.equal((await ask(daemon, "GET", "/livez")).status, 200);
    });

test("raw: a body beyond the limit is 413 before it is read", async () => {
    const got = await rawRequest(daemon, `POST /v1/completions HTTP/1.1\r\n${H}` +
        "Content-Length: 99999999\r\n\r\n{");
    assert.match(got, /^HTTP\/1\.1 413/);
    assert.match(got, /request_too_large/);
});

test("raw: Expect: 100-continue is answered", async () => {
    const got = await rawRequest(daemon, `POST /v1/completions HTTP/1.1\r\n${H}` +
        "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}");
    assert.match(got, /^HTTP\/1\.1 100/);
    assert.match(got, /HTTP\/1\.1 400/);
});

test("raw: a client that never finishes its request is cut off", async () => {
    const start = performance.now();

    await new Promise((resolve) => {
        const socket = net.connect(daemon.port, "127.0.0.1", () => {
            socket.write(`POST /v1/completions HTTP/1.1\r\n${H}Content-Length: 1000\r\n\r\n`);
            const drip = setInterval(() => socket.write("x"), 100);
            socket.on("close", () => {
                clearInterval(drip);
                resolve();
            });
            socket.on("error", () => {});
            socket.on("data", () => {});
        });
    });
    assert.ok(performance.now() - start < 6000);
});

test("raw: content encodings are refused with 415, unknown paths with 404", async () => {
    const zipped = await ask(daemon, "POST", "/v1/completions", "{}", { "content-encoding": "gzip" });
    assert.equal(zipped.status, 415);
    const lost = await ask(daemon, "GET", "/v1/v1/models");
    assert.equal(lost.status, 404);
    assert.equal(lost.json.error.code, "unknown_url");
    assert.deepEqual(Object.keys(lost.json.error).sort(), ["code", "message", "param", "type"]);
});

// Lines of the log that name this status and these words, and no request's id.
const logged = (status, words) => daemon.log.split("\n").filter((line) =>
    line.includes('"msg":"request"') && line.includes(`"status":${status},`) && line.includes(words));

test("raw: what never becomes a request has its line in the log", async () => {
    const cases = [
        ["SSH-2.0-x\r\n\r\n", 400, "first line is not valid"],
        [`GET /livez HTTP/9.9\r\n${H}\r\n`, 505, "HTTP version"],
        [`GET /livez HTTP/1.1\r\n${H}X: ${"v".repeat(70000)}\r\n\r\n`, 431, "headers are too large"],
        [`POST /v1/completions HTTP/1.1\r\n${H}Content-Length: abc\r\n\r\n`, 400, "is no HTTP"],
        [`POST /v1/completions HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400,
            "is no HTTP"],
    ];

    for (const [bytes, status, words] of cases) {
        const before = logged(status, words).length;

        assert.match(await rawRequest(daemon, bytes), new RegExp(`^HTTP/1.1 ${status} `));
        await until(async () => logged(status, words).length > before, 2000, `the line of ${status}`);
        assert.equal(logged(status, words).length, before + 1);
    }
    const half = await rawRequest(daemon, `POST /v1/completions HTTP/1.1\r\n${H}Content-Length: 9\r\n\r\n{`,
        4000);
    assert.match(half, /^HTTP\/1\.1 408 /);
    await until(async () => logged(408, "not complete in time").length > 0, 2000, "the line of 408");
});
