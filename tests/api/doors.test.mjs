// doors.test.mjs - who is let in: keys, hosts, origins, content types, addresses, TLS.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ask, launch, metrics, newFile, newFolder, startDaemon } from "./daemon.mjs";

const body = { prompt: [5, 6, 7], max_tokens: 2, temperature: 0 };
const bearer = (key) => ({ authorization: `Bearer ${key}` });
const post = (daemon, headers, what = body) =>
    ask(daemon, "POST", "/v1/completions", what, headers);
const wait = async (condition, what) => {
    for (let i = 0; i < 200; i++) {
        if (await condition()) return;
        await new Promise((done) => setTimeout(done, 25));
    }
    assert.fail(`waited in vain: ${what}`);
};

let open;
before(async () => { open = await startDaemon(); });
after(async () => { assert.deepEqual(await open.stop(), { code: 0, signal: null }); });

test("with a key file a request needs one of its keys, a probe none", async () => {
    const file = newFile("# keys\nsk-alice name=alice\nsk-bob\n");
    const daemon = await startDaemon("--api-key-file", file);

    for (const [headers, status] of [[{}, 401], [bearer("sk-alice"), 200], [bearer("sk-eve"), 401],
        [{ "x-api-key": "sk-bob" }, 200], [{ authorization: "Basic x" }, 401]]) {
        const answer = await post(daemon, headers);

        assert.equal(answer.status, status, answer.text);
        if (status === 401) {
            assert.equal(answer.json.error.code, "invalid_api_key");
            assert.equal(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert.equal((await ask(daemon, "GET", "/v1/models")).status, 401);
    assert.equal((await ask(daemon, "GET", "/metrics")).status, 401);
    assert.equal((await ask(daemon, "GET", "/v1/nothing")).status, 404);
    for (const path of ["/health", "/livez", "/readyz"])
        assert.equal((await ask(daemon, "GET", path)).status, 200, path);
    assert.equal((await ask(daemon, "GET", "/metrics", undefined, {}, daemon.adminPort)).status, 200);

    writeFileSync(file, "sk-carol\n");
    daemon.child.kill("SIGHUP");
    await wait(async () => (await post(daemon, bearer("sk-carol"))).status === 200, "a new key");
    assert.equal((await post(daemon, bearer("sk-alice"))).status, 401);
    writeFileSync(file, "sk-carol requests=x\n");
    daemon.child.kill("SIGHUP");
    await wait(() => daemon.log.includes("the API keys stay as they were"), "the complaint");
    assert.equal((await post(daemon, bearer("sk-carol"))).status, 200);
    assert.ok(!daemon.log.includes("sk-"), "a key is in the log");
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("sessions of one key are not listed, read or deleted by another", async () => {
    const daemon = await startDaemon("--api-key-file", newFile("a\nb\n"));

    assert.equal((await post(daemon, bearer("a"), { ...body, session_id: "s" })).status, 200);
    for (const [key, count] of [["a", 1], ["b", 0]]) {
        const list = await ask(daemon, "GET", "/v1/sessions", undefined, bearer(key));

        assert.equal(list.json.data.length, count);
    }
    assert.equal((await ask(daemon, "GET", "/v1/sessions/s", undefined, bearer("b"))).status, 404);
    assert.equal((await ask(daemon, "DELETE", "/v1/sessions/s", undefined, bearer("b"))).status, 404);
    assert.equal((await ask(daemon, "GET", "/v1/sessions/s", undefined, bearer("a"))).status, 200);
    await daemon.stop();
});

// A stream that has begun; resolves with a call that leaves it.
function begin(daemon, key, what) {
    return new Promise((resolve, reject) => {
        const request = http.request({ host: "127.0.0.1", port: daemon.port, method: "POST",
            path: "/v1/completions", agent: false,
            headers: { ...bearer(key), "content-type": "application/json" } }, (response) => {
            assert.equal(response.statusCode, 200);
            response.on("error", () => {}); // we leave in the middle
            response.once("data", () => resolve(() => request.destroy()));
        });
        request.on("error", reject);
        request.end(JSON.stringify({ ...what, stream: true }));
    });
}

test("a key has its limits, and other keys are not touched by them", async () => {
    const file = newFile("a requests=2\nt tokens=1900\nm tokens_per_minute=60\nfree\n");
    // Pages for three long answers at once.
    const daemon = await startDaemon("--api-key-file", file, "--cache-size", "1GiB");
    const long = { prompt: "Once", max_tokens: 150, temperature: 0, ignore_eos: true };
    const over = (answer, limit) => {
        assert.equal(answer.status, 429, answer.text);
        assert.equal(answer.json.error.code, "rate_limit_exceeded");
        assert.match(answer.json.error.message, limit);
        assert.ok(Number(answer.headers["retry-after"]) >= 1);
    };

    const never = await post(daemon, bearer("t"), { ...long, max_tokens: 1950 });
    assert.equal(never.status, 400, never.text);
    assert.match(never.json.error.message, /may not have so many tokens/);
    for (const [key, limit, tokens, runs] of [["a", /limit of requests/, 1900, 2],
        ["t", /limit of tokens/, 1890, 1]]) {
        const endless = { ...long, max_tokens: tokens };
        const leave = [];

        for (let i = 0; i < runs; i++) leave.push(await begin(daemon, key, endless));
        over(await post(daemon, bearer(key), { ...body, max_tokens: 20 }), limit);
        assert.equal((await post(daemon, bearer("free"))).status, 200);
        leave.forEach((call) => call());
        await wait(async () => (await post(daemon, bearer(key))).status === 200, "room again");
    }
    assert.equal((await post(daemon, bearer("m"), long)).status, 200);
    const late = await post(daemon, bearer("m"), body);
    over(late, /limit of tokens_per_minute/);
    assert.ok(Number(late.headers["retry-after"]) > 60);
    await daemon.stop();
});

test("a body is JSON or it is 415", async () => {
    for (const [type, status] of [["application/json", 200], ["Application/JSON; charset=utf-8", 200],
        ["text/plain", 415], ["application/x-www-form-urlencoded", 415], ["application/jsonx", 415],
        ["multipart/form-data; boundary=x", 415], ["", 415]]) {
        const answer = await post(open, { "content-type": type });

        assert.equal(answer.status, status, `${type}: ${answer.text}`);
        if (status === 415) assert.equal(answer.json.error.code, "unsupported_media_type");
    }
});

test("on a loopback listener the Host is a loopback name", async () => {
    for (const [host, status] of [["localhost:1", 200], ["127.0.0.1", 200], ["[::1]:8080", 200],
        ["a.localhost", 200], ["evil.example", 403], ["127.0.0.1.evil.example:80", 403]]) {
        const answer = await ask(open, "GET", "/v1/models", undefined, { host });

        assert.equal(answer.status, status, host);
        if (status === 403) assert.equal(answer.json.error.code, "host_not_allowed");
    }
    const named = await startDaemon("--allowed-hosts", "api.example, *.b.example");
    for (const [host, status] of [["api.example:9", 200], ["x.b.example", 200], ["localhost", 403]])
        assert.equal((await ask(named, "GET", "/livez", undefined, { host })).status, status, host);
    await named.stop();
});

test("pages of other origins may not post unless --cors-origin has them", async () => {
    const host = `127.0.0.1:${open.port}`, evil = { origin: "https://evil.example" };
    const preflight = { "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type" };

    assert.equal((await post(open, evil)).json.error.code, "origin_not_allowed");
    assert.equal((await post(open, { origin: `http://${host}`, host })).status, 200);
    assert.equal((await ask(open, "POST", "/v1/sessions/x/pin", undefined, evil)).status, 403);
    const read = await ask(open, "GET", "/v1/models", undefined, evil);
    assert.equal(read.status, 200);
    assert.equal(read.headers["access-control-allow-origin"], undefined);
    assert.equal((await ask(open, "OPTIONS", "/v1/completions", undefined,
        { ...evil, ...preflight })).status, 403);

    const cors = await startDaemon("--cors-origin", "https://app.example, http://localhost:3000");
    const app = { origin: "https://app.example" };
    const allowed = await ask(cors, "OPTIONS", "/v1/completions", undefined,
        { ...app, ...preflight });
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers["access-control-allow-origin"], app.origin);
    assert.equal(allowed.headers["access-control-allow-headers"], "authorization,content-type");
    assert.match(allowed.headers["access-control-allow-methods"], /POST/);
    assert.match(allowed.headers.vary, /Origin/);
    const answer = await post(cors, app);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["access-control-allow-origin"], app.origin);
    assert.equal((await post(cors, evil)).status, 403);
    await cors.stop();
});

// Run `serve` with what must be refused; resolves with {code, text}.
function refused(...args) {
    return new Promise((resolve) => {
        const child = launch(process.env.XQUANTD ?? "build/xquantd", ["serve", "--listen",
            "127.0.0.1:0", "--admin-listen", "off", ...args], { stdio: ["ignore", "ignore", "pipe"] });
        let text = "";

        child.stderr.on("data", (part) => (text += part));
        child.on("exit", (code) => resolve({ code, text }));
    });
}

test("an option that is wrong is named in a sentence", async () => {
    const cert = newFile("no certificate");

    for (const [args, words] of [
        [["--listen", "8080"], /cannot listen on 8080: it is none of HOST:PORT/],
        [["--listen", `127.0.0.1:${open.port}`], /Address already in use/],
        [["--listen", "unix:"], /none of HOST:PORT.*unix:PATH/],
        [["--unix-mode", "rw"], /--unix-mode rw: is no mode like 0660/],
        [["--trusted-proxies", "10.0.0.0/8,proxy"], /--trusted-proxies proxy: is no address/],
        [["--tls-cert", cert], /--tls-cert .*: takes --tls-cert and --tls-key together/],
        [["--tls-cert", cert, "--tls-key", cert], /holds no certificate in PEM/],
        [["--api-key-file", "/nowhere/keys"], /\/nowhere\/keys/],
        [["--api-key-file", newFile("k bad\n")], /:1: is not NAME=VALUE/],
        [["--log-file", "/nowhere/log"], /\/nowhere\/log: No such file/],
    ]) {
        const { code, text } = await refused(...args);

        assert.equal(code, 1, text);
        assert.match(text, words);
    }
});

function get(module, options) {
    return new Promise((resolve, reject) => {
        module.get(options, (response) => {
            let text = "";
            response.on("data", (part) => (text += part));
            response.on("end", () => resolve({ status: response.statusCode, text }));
        }).on("error", reject);
    });
}

test("a Unix socket serves, has its mode, is there again after a kill, and goes at the end", async () => {
    const path = join(newFolder(), "socket");
    const start = () => new Promise((resolve) => {
        const child = launch(process.env.XQUANTD ?? "build/xquantd", ["serve", "--listen",
            `unix:${path}`, "--admin-listen", "off", "--unix-mode", "0600"],
        { stdio: ["ignore", "ignore", "pipe"] });

        child.exited = new Promise((done) => child.on("exit", done));
        child.stderr.on("data", (text) => { if (`${text}`.includes("msg=ready") || `${text}`.includes('"ready"')) resolve(child); });
    });
    let child = await start();

    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await get(http, { socketPath: path, path: "/v1/models" })).status, 200);
    child.kill("SIGKILL");
    await child.exited;
    assert.ok(existsSync(path));
    child = await start();
    assert.equal((await get(http, { socketPath: path, path: "/health" })).status, 200);
    child.kill("SIGTERM");
    assert.equal(await child.exited, 0);
    assert.ok(!existsSync(path));
});

test("TLS serves, and SIGHUP shows a new certificate", async () => {
    const folder = newFolder(), key = join(folder, "key.pem"), cert = join(folder, "cert.pem");
    const make = (name) => execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
        "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"], { stdio: "ignore" });
    const name = () => new Promise((resolve, reject) => https.get({ host: "127.0.0.1",
        port: daemon.port, path: "/v1/models", ca: readFileSync(cert), agent: false },
    (response) => {
        assert.equal(response.statusCode, 200);
        response.resume();
        resolve(response.socket.getPeerCertificate().subject.CN);
    }).on("error", reject));

    make("one");
    const daemon = await startDaemon("--tls-cert", cert, "--tls-key", key);
    assert.equal(await name(), "one");
    make("two");
    daemon.child.kill("SIGHUP");
    await wait(() => daemon.log.includes("certificate read"), "the reload");
    assert.equal(await name(), "two");
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("SIGUSR1 opens the log anew; SIGUSR2 and SIGALRM mean nothing", async () => {
    const log = join(newFolder(), "log"), old = `${log}.1`;
    const child = launch(process.env.XQUANTD ?? "build/xquantd", ["serve", "--listen",
        "127.0.0.1:0", "--admin-listen", "off", "--log-file", log], { stdio: "ignore" });
    const exited = new Promise((done) => child.on("exit", done));

    await wait(() => existsSync(log) && readFileSync(log, "utf8").includes("ready"), "the log");
    child.kill("SIGUSR2");
    child.kill("SIGALRM");
    renameSync(log, old);
    child.kill("SIGUSR1");
    await wait(() => existsSync(log), "a new log");
    child.kill("SIGTERM");
    assert.equal(await exited, 0);
    assert.match(readFileSync(log, "utf8"), /stopped/);
    assert.ok(!readFileSync(old, "utf8").includes("stopped"));
});

test("a log that nobody reads stops nothing, and what it lost is counted", async () => {
    const daemon = await startDaemon("--log-level", "debug");

    daemon.child.stderr.pause();
    for (let i = 0; i < 1500; i += 50)
        await Promise.all(Array.from({ length: 50 }, (_, j) =>
            ask(daemon, "GET", `/v1/models/none-${i + j}-${"x".repeat(200)}`)));
    assert.equal((await post(daemon, {})).status, 200);
    const lost = (await metrics(daemon)).xquantd_log_dropped_total;
    daemon.child.stderr.resume();
    assert.ok(lost > 100, `${lost} lines`);
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("--healthcheck asks the admin listener", async () => {
    const run = (...args) => {
        try {
            execFileSync(process.env.XQUANTD ?? "build/xquantd", ["serve", "--healthcheck", ...args]);
            return 0;
        } catch (e) {
            return e.status;
        }
    };
    const admin = `127.0.0.1:${open.adminPort}`, api = `127.0.0.1:${open.port}`;

    assert.equal(run("--listen", "127.0.0.1:1", "--admin-listen", admin), 0);
    assert.equal(run("--listen", api, "--admin-listen", "127.0.0.1:1"), 1);
    assert.equal(run("--listen", api, "--admin-listen", "off"), 0);
});
