// loading.test.mjs - the listeners are there before the model is.
import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";

import { ask, launch, newFolder } from "./daemon.mjs";

// A daemon whose model comes from a hub that answers when it is told to.
async function startLoading() {
    let asked;
    const wanted = new Promise((resolve) => (asked = resolve));
    const hub = http.createServer((request, response) => asked(response));
    await new Promise((done) => hub.listen(0, "127.0.0.1", done));
    const child = launch(process.env.XQUANTD ?? "build/xquantd", ["serve", "--model",
        "hf:a/b:c.gguf", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
        "--log-format", "json"], { stdio: ["ignore", "ignore", "pipe"],
        env: { ...process.env, HF_ENDPOINT: `http://127.0.0.1:${hub.address().port}`,
            XDG_CACHE_HOME: newFolder(), HOME: newFolder() } });
    const daemon = { child, hub, log: "" };

    daemon.exited = new Promise((resolve) =>
        child.on("exit", (code, signal) => resolve({ code, signal })));
    child.stderr.on("data", (text) => {
        daemon.log += text;
        for (const [, name, port] of daemon.log.matchAll(
            /"listening","listener":"(api|admin)".*"port":(\d+)/g))
            daemon[name === "api" ? "port" : "adminPort"] = Number(port);
    });
    daemon.response = await wanted;
    return daemon;
}

test("while the model loads, probes say so and requests are asked to come again", async () => {
    const daemon = await startLoading();

    assert.equal((await ask(daemon, "GET", "/livez")).status, 200);
    assert.equal((await ask(daemon, "GET", "/version")).status, 200);
    for (const port of [daemon.port, daemon.adminPort])
        for (const path of ["/readyz", "/health"]) {
            const answer = await ask(daemon, "GET", path, undefined, {}, port);

            assert.equal(answer.status, 503, path);
            assert.equal(answer.json.status, "loading");
            assert.equal(answer.json.progress, 0);
            assert.equal(answer.headers["retry-after"], "1");
        }
    for (const [method, path, body] of [["POST", "/v1/completions", { prompt: "x" }],
        ["POST", "/v1/chat/completions", {}], ["GET", "/v1/models"], ["GET", "/v1/sessions"],
        ["DELETE", "/v1/sessions/x"], ["GET", "/metrics"]]) {
        const answer = await ask(daemon, method, path, body);

        assert.equal(answer.status, 503, path);
        assert.equal(answer.json.error.code, "loading");
    }
    assert.equal((await ask(daemon, "GET", "/nothing")).status, 404);

    daemon.response.writeHead(404).end(); // and now there is no such model
    assert.deepEqual(await daemon.exited, { code: 1, signal: null });
    assert.match(daemon.log, /xquantd: .*c\.gguf/);
    daemon.hub.closeAllConnections();
    daemon.hub.close();
});

test("SIGTERM ends a server that is still loading", async () => {
    const daemon = await startLoading(), start = performance.now();

    daemon.child.kill("SIGTERM");
    assert.deepEqual(await daemon.exited, { code: 0, signal: null });
    assert.ok(performance.now() - start < 5000);
    assert.match(daemon.log, /stopped while loading/);
    daemon.hub.closeAllConnections();
    daemon.hub.close();
});
