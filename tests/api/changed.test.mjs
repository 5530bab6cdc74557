// changed.test.mjs - the model's file is changed under a running server.
import assert from "node:assert/strict";
import { copyFileSync, renameSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ask, newFolder, startDaemon, until } from "./daemon.mjs";

const shipped = "models/seedling-32m-mha-q8_0.gguf";
const prompt = { prompt: "The river and its many people", max_tokens: 8 };

const changes = {
    "cut short": (path) => truncateSync(path, 4096),
    "emptied": (path) => writeFileSync(path, ""),
    "written": (path) => utimesSync(path, 1, 1),
    "replaced": (path) => {
        copyFileSync(shipped, path + ".new");
        renameSync(path + ".new", path);
    },
};

for (const [how, change] of Object.entries(changes))
    test(`a model file that is ${how} makes readiness 503 and ends nothing`, async () => {
        const path = join(newFolder(), "m.gguf");

        copyFileSync(shipped, path);
        const daemon = await startDaemon("--model", path);
        assert.equal((await ask(daemon, "POST", "/v1/completions", { prompt: "x" })).status, 200);
        change(path);
        // rows and texts that were never read are read now: whatever comes, the process lives
        await ask(daemon, "POST", "/v1/completions", prompt);
        await until(async () => (await ask(daemon, "GET", "/readyz")).status === 503,
            5000, "readiness is 503");
        for (const [method, url, body] of [["GET", "/readyz"],
            ["POST", "/v1/completions", prompt],
            ["POST", "/v1/chat/completions", { messages: [{ role: "user", content: "x" }] }]]) {
            const answer = await ask(daemon, method, url, body);

            assert.equal(answer.status, 503, url);
            assert.equal(answer.json.error.code, "model_changed");
        }
        assert.equal((await ask(daemon, "GET", "/livez")).status, 200);
        assert.equal(daemon.log.split("the model's file has changed").length, 2);
        assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
    });
