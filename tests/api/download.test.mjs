// download.test.mjs - models by their name on the hub, against a hub of our own on loopback.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { ask, launch, startDaemon } from "./daemon.mjs";

process.env.no_proxy = "127.0.0.1";
const program = process.env.XQUANTD ?? "build/xquantd";
const model = fs.readFileSync("models/seedling-32m-mha-q8_0.gguf");
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");
const spec = "hf:own-er/re.po:some_model.gguf";
const route = "/own-er/re.po/resolve/main/some_model.gguf";

// The hub: `files` by path, what was asked, and how it misbehaves.
const hub = { files: new Map(), asked: [] };
let store; // another host: where the hub redirects to
let cache;

// Answer with a file, or what is asked of it. `limits`: bytes after which an answer is cut;
// `stall`: bytes after which nothing more comes; `deaf`: to ranges.
function send(request, response, file) {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const from = range && !file.deaf ? Number(range[1]) : 0;
    const { bytes } = file;

    if (range && !file.deaf && from >= bytes.length) {
        response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
        return;
    }
    response.writeHead(range && !file.deaf ? 206 : 200, {
        "content-length": bytes.length - from,
        ...(range && !file.deaf
            ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
        ...(file.tag ? { etag: `"${file.tag}"` } : {}),
    });
    const limit = file.limits?.shift() ?? Infinity;
    if (file.stall) response.write(bytes.subarray(0, file.stall));
    else if (limit >= bytes.length - from) response.end(bytes.subarray(from));
    else response.write(bytes.subarray(from, from + limit), () => response.destroy());
}

function serve(where) {
    const server = http.createServer((request, response) => {
        const file = hub.files.get(request.url);

        hub.asked.push({ where, url: request.url, ...request.headers });
        if (!file) response.writeHead(404).end("Entry not found");
        else if (file.status) response.writeHead(file.status).end("no");
        else if (where === "hub" && file.linked)
            response.writeHead(302, { location: `http://127.0.0.1:${store.address().port}${request.url}`,
                "x-linked-etag": `"${file.linked}"`, "x-linked-size": file.bytes.length,
                "content-length": 5 }).end("moved");
        else send(request, response, file);
    });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

before(async () => {
    hub.server = await serve("hub");
    store = await serve("store");
    hub.url = `http://127.0.0.1:${hub.server.address().port}`;
});
after(() => {
    hub.server.close();
    store.close();
    fs.rmSync(cache, { recursive: true });
});
beforeEach(() => {
    if (cache) fs.rmSync(cache, { recursive: true });
    cache = fs.mkdtempSync(path.join(os.tmpdir(), "xquantd-download-"));
    hub.files.clear();
    hub.asked = [];
});

const place = (name = "own-er/re.po/some_model.gguf") =>
    path.join(cache, "xquantd/models", name);

// Run the program to its end: {code, said}.
function run(args, env = {}, shell = []) {
    const child = launch(shell[0] ?? program, [...shell.slice(1), ...(shell[0] ? [program] : []),
        ...args],
        { env: { ...process.env, XDG_CACHE_HOME: cache, HF_ENDPOINT: hub.url, HF_TOKEN: "", ...env },
            stdio: ["ignore", "ignore", "pipe"] });
    let said = "";

    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text) => (said += text));
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, said })));
}
const inspect = (name = spec, env = {}, shell = []) => run(["inspect", name], env, shell);

// It ends with exit code 1 and one line that has the text.
function refused(result, text) {
    assert.equal(result.code, 1, result.said);
    assert.equal(result.said.trimEnd().split("\n").length, 1, result.said);
    assert.match(result.said, /^xquantd: hf:.*: cannot be downloaded\n$/);
    assert.ok(result.said.includes(text), result.said);
}

function there(bytes, name) {
    assert.equal(sha(fs.readFileSync(place(name))), sha(bytes));
    assert.ok(!fs.existsSync(place(name) + ".part"));
}

test("a model is fetched through a redirect, checked, kept, and then used without network", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model) });
    assert.deepEqual(await inspect(), { code: 0, said: "" });
    there(model);
    assert.deepEqual(hub.asked.map((a) => [a.where, a.url]), [["hub", route], ["store", route]]);
    assert.deepEqual(await inspect(spec, { HF_ENDPOINT: "http://127.0.0.1:1" }), { code: 0, said: "" });
    assert.equal(hub.asked.length, 2);
});

test("the daemon serves it under its file's name", async () => {
    hub.files.set(route, { bytes: model, tag: sha(model) });
    const kept = { ...process.env };
    Object.assign(process.env, { XDG_CACHE_HOME: cache, HF_ENDPOINT: hub.url });
    const daemon = await startDaemon("--model", spec);
    process.env = kept;
    assert.equal((await ask(daemon, "GET", "/v1/models")).json.data[0].id, "some_model");
    await daemon.stop();
    there(model);
});

test("the token goes to the hub and to no other host", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model) });
    assert.equal((await inspect(spec, { HF_TOKEN: "hf_secret" })).code, 0);
    assert.deepEqual(hub.asked.map((a) => a.authorization), ["Bearer hf_secret", undefined]);
});

test("connections that are cut are resumed as long as bytes come", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model), limits: [9000000, 100000, 12345678] });
    assert.equal((await inspect()).code, 0);
    there(model);
    const ranges = hub.asked.filter((a) => a.where === "store").map((a) => a.range);
    assert.equal(ranges.length, 4);
    assert.equal(ranges[0], undefined);
    for (const range of ranges.slice(1)) assert.match(range, /^bytes=[1-9]\d*-$/);
});

test("what has come is kept when the server goes away, and the next run goes on from there", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model), limits: [5000000, 0, 0, 0] });
    refused(await inspect(), "what has come is kept");
    const kept = fs.statSync(place() + ".part").size;
    assert.ok(kept > 0 && kept <= 5000000);
    assert.ok(!fs.existsSync(place()));
    assert.equal((await inspect()).code, 0);
    there(model);
    assert.equal(hub.asked.at(-1).range, `bytes=${kept}-`);
});

test("an interrupt keeps what has come, and the next run goes on from there", async () => {
    hub.files.set(route, { bytes: model, tag: sha(model), stall: 1000000 });
    const child = launch(program, ["inspect", spec], { stdio: "ignore",
        env: { ...process.env, XDG_CACHE_HOME: cache, HF_ENDPOINT: hub.url } });
    const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(signal)));
    const part = place() + ".part";
    while (!fs.existsSync(part) || fs.statSync(part).size < 1000000)
        await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill("SIGINT");
    assert.equal(await ended, "SIGINT");
    assert.equal(fs.statSync(part).size, 1000000);
    hub.files.set(route, { bytes: model, tag: sha(model) });
    assert.equal((await inspect()).code, 0);
    assert.equal(hub.asked.at(-1).range, "bytes=1000000-");
    there(model);
});

test("a part that is whole is checked and not fetched again", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model) });
    fs.mkdirSync(path.dirname(place()), { recursive: true });
    fs.writeFileSync(place() + ".part", model);
    assert.equal((await inspect()).code, 0);
    there(model);
});

test("a part that is too long begins anew", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model) });
    fs.mkdirSync(path.dirname(place()), { recursive: true });
    fs.writeFileSync(place() + ".part", Buffer.concat([model, Buffer.alloc(10)]));
    assert.equal((await inspect()).code, 0);
    there(model);
});

test("a server that knows no ranges sends all of it again", async () => {
    hub.files.set(route, { bytes: model, tag: sha(model), deaf: true, limits: [100000] });
    assert.equal((await inspect()).code, 0);
    there(model);
});

test("an answer of another length than it names is no file", async () => {
    hub.files.set(route, { bytes: Buffer.alloc(0) });
    fs.mkdirSync(path.dirname(place()), { recursive: true });
    fs.writeFileSync(place() + ".part", "old");
    hub.files.get(route).deaf = true;
    refused(await inspect(), "its length is not what the server said; it was removed");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

test("a wrong checksum removes the file", async () => {
    const other = Buffer.from(model);
    other[other.length - 1] ^= 1;
    hub.files.set(route, { bytes: other, linked: sha(model) });
    refused(await inspect(), "its checksum is not what the server names; it was removed");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

test("a tag that is no SHA-256 is not held against the file", async () => {
    hub.files.set(route, { bytes: model, tag: "0123456789abcdef0123456789abcdef01234567" });
    assert.equal((await inspect()).code, 0);
    there(model);
});

test("what the server refuses is said in one line", async () => {
    refused(await inspect(), "there is no such file (404)");
    hub.files.set(route, { status: 401 });
    refused(await inspect(), "the server answers 401; it may want a token in HF_TOKEN");
    hub.files.set(route, { status: 410 });
    refused(await inspect(), "the server answers 410");
    hub.files.set(route, { status: 503 });
    refused(await inspect(), "the server answers 503");
    refused(await inspect(spec, { HF_ENDPOINT: "http://127.0.0.1:1" }), "127.0.0.1 port 1");
    refused(await inspect(spec, { HF_ENDPOINT: "ftp://127.0.0.1" }), "HF_ENDPOINT is no http");
    refused(await inspect(spec, { XDG_CACHE_HOME: "", HOME: "" }), "there is no cache folder");
    assert.equal(fs.existsSync(place()), false);
});

test("no command takes a name that is malformed or leads out of the cache", async () => {
    const names = ["hf:", "hf:a", "hf:a/b", "hf:a/b:", "hf:/b:c", "hf:a/:c", "hf:../b:c", "hf:a/..:c",
        "hf:a/b:..", "hf:a/b:../c", "hf:a/b:c/../d", "hf:a/b:/etc/passwd", "hf:a/b:c//d", "hf:a/b:c/",
        "hf:a/b:.hidden", "hf:a b/c:d", "hf:a/b:c\\d", "hf:a/b:c\nd", `hf:${"a".repeat(97)}/b:c`,
        `hf:a/b:${"c".repeat(513)}`];
    for (const name of names) {
        const { code, said } = await run(["complete", "--model", name, "--prompt", "x"]);
        assert.equal(code, 1);
        assert.ok(said.includes(": a name is hf:OWNER/REPO:FILE: cannot be downloaded"), said);
    }
    assert.equal(hub.asked.length, 0);
    assert.deepEqual(fs.readdirSync(cache), []);
});

test("names with folders and spaces are escaped in the URL", async () => {
    hub.files.set("/a/b/resolve/main/Q8_0/my%20model%2B%C3%A9.gguf", { bytes: model });
    assert.equal((await inspect("hf:a/b:Q8_0/my model+é.gguf", { HF_ENDPOINT: hub.url + "/" })).code, 0);
    there(model, "a/b/Q8_0/my model+é.gguf");
});

test("of a model in several files all are fetched, the first at last", async () => {
    const at = (i) => `/a/b/resolve/main/m-0000${i}-of-00003.gguf`;
    for (const i of [1, 2, 3]) hub.files.set(at(i), { bytes: model });
    await inspect("hf:a/b:m-00001-of-00003.gguf");
    assert.deepEqual(hub.asked.map((a) => a.url), [at(3), at(2), at(1)]);
    there(model, "a/b/m-00003-of-00003.gguf");
});

test("a file that two fetch at once is fetched by one", async () => {
    fs.mkdirSync(path.dirname(place()), { recursive: true });
    fs.writeFileSync(place() + ".part", "");
    hub.files.set(route, { bytes: model });
    const holder = launch("flock", [place() + ".part", "sh", "-c", "echo held; read x"],
        { stdio: ["pipe", "pipe", "ignore"] });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    refused(await inspect(), "another process is downloading it");
    holder.stdin.end();
    await new Promise((resolve) => holder.on("close", resolve));
    assert.equal((await inspect()).code, 0);
});

test("a disk without room says so and keeps what fits", async () => {
    hub.files.set(route, { bytes: model, linked: sha(model) });
    const result = await inspect(spec, {},
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "-"]);
    refused(result, ".part: File too large");
    assert.ok(!fs.existsSync(place()));
});
