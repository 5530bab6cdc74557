// ollama.test.mjs - /api/... by Ollama's own client.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Ollama } from "ollama";

import { ask, chat, complete, failure, startDaemon } from "./daemon.mjs";

let daemon;
let client;
const model = "seedling";
const messages = [{ role: "user", content: "Hello! Who are you?" }];
const options = { temperature: 0, num_predict: 12 };

before(async () => {
    daemon = await startDaemon("--model-name", model);
    client = new Ollama({ host: daemon.url });
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const post = (path, body) => ask(daemon, "POST", path, body);

test("a chat says what a chat completion says, with counts and times", async () => {
    const start = performance.now();
    const said = await client.chat({ model, messages, options });
    const took = (performance.now() - start) * 1e6;
    const { json } = await chat(daemon, { messages, temperature: 0, max_tokens: 12 });

    assert.deepEqual([said.model, said.done, said.done_reason], [model, true, "length"]);
    assert.ok(Math.abs(new Date(said.created_at) - Date.now()) < 10000);
    assert.deepEqual(said.message, { role: "assistant", content: json.choices[0].message.content });
    assert.deepEqual([said.prompt_eval_count, said.eval_count], [json.usage.prompt_tokens, 12]);
    assert.ok(said.prompt_eval_duration > 0 && said.eval_duration > 0);
    assert.ok(said.prompt_eval_duration + said.eval_duration <= said.total_duration);
    assert.ok(said.total_duration <= took, `${said.total_duration} <= ${took}`);
    assert.equal(said.load_duration, 0);
});

test("a chat's stream is lines, and equals the whole; it is what comes if nothing is said", async () => {
    const whole = await client.chat({ model, messages, options });
    const lines = [];

    for await (const line of await client.chat({ model, messages, options, stream: true }))
        lines.push(line);
    assert.equal(lines.map((line) => line.message.content).join(""), whole.message.content);
    assert.deepEqual(lines.map((line) => line.done), [...Array(lines.length - 1).fill(false), true]);
    assert.equal(lines.at(-1).done_reason, "length");
    assert.equal(lines.at(-1).eval_count, 12);
    const raw = await post("/api/chat", { model, messages, options });
    assert.equal(raw.headers["content-type"], "application/x-ndjson");
    assert.equal(raw.text.trimEnd().split("\n").map((line) => JSON.parse(line).message.content)
        .join(""), whole.message.content);
});

test("generate writes a turn, or goes on with a raw prompt", async () => {
    const said = await client.generate({ model, prompt: "Hello! Who are you?", system: "Be brief.",
        options });
    const { json } = await chat(daemon, { temperature: 0, max_tokens: 12,
        messages: [{ role: "system", content: "Be brief." }, ...messages] });
    assert.equal(said.response, json.choices[0].message.content);
    assert.equal(said.prompt_eval_count, json.usage.prompt_tokens);

    const raw = await client.generate({ model, prompt: "Once upon a time", raw: true, options });
    const text = await complete(daemon, { prompt: "Once upon a time", temperature: 0,
        max_tokens: 12 });
    assert.equal(raw.response, text.json.choices[0].text);
    let all = "";
    for await (const line of await client.generate({ model, prompt: "Once upon a time", raw: true,
        options, stream: true })) all += line.response;
    assert.equal(all, raw.response);
});

test("options are the samplers', by Ollama's names", async () => {
    const seeded = { num_predict: 12, temperature: 1, seed: 7, top_k: 20, top_p: 0.9, min_p: 0.05,
        repeat_penalty: 1.1, repeat_last_n: 64, presence_penalty: 0.1, frequency_penalty: 0.1 };
    const said = await client.chat({ model: `${model}:latest`, messages, keep_alive: "5m",
        options: { ...seeded, num_ctx: 4096, num_keep: 4 } });
    const { num_predict: max_tokens, ...same } = seeded;
    const { json } = await chat(daemon, { messages, ...same, max_tokens });

    assert.equal(said.message.content, json.choices[0].message.content);
    const whole = await client.chat({ model, messages, options });
    const stop = " " + whole.message.content.split(" ")[2];
    const cut = await client.chat({ model, messages, options: { ...options, stop: [stop] } });
    assert.equal(cut.done_reason, "stop");
    assert.equal(cut.message.content, whole.message.content.split(stop)[0]);
    assert.ok((await client.chat({ model, messages, options: { num_predict: -2, temperature: 0 } }))
        .eval_count > 12);
});

test("format holds an answer to JSON, or to a schema", async () => {
    const schema = { type: "object", properties: { color: { enum: ["red", "blue"] } },
        required: ["color"], additionalProperties: false };
    const held = await client.chat({ model, messages, format: schema });
    assert.ok(["red", "blue"].includes(JSON.parse(held.message.content).color));
    const any = await client.generate({ model, prompt: "JSON, please.", format: "json",
        options: { num_predict: 300 } });
    assert.equal(typeof JSON.parse(any.response), "object");
});

test("models are listed and shown", async () => {
    const { models: [one] } = await client.list();
    assert.deepEqual([one.name, one.model, one.details.format], [model, model, "gguf"]);
    assert.ok(one.size > 1e7 && one.digest.length === 32);
    const { models: [loaded] } = await client.ps();
    assert.equal(loaded.name, model);
    assert.equal(loaded.context_length, 2048);
    const shown = await client.show({ model: `${model}:latest` });
    assert.match(shown.template, /im_start/);
    assert.ok(shown.capabilities.includes("completion"));
    assert.equal(shown.model_info["general.architecture"], shown.details.family);
    assert.equal((await failure(client.show({ model: "nobody" }))).status_code, 404);
    assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);
});

test("errors have the form that its clients read", async () => {
    const cases = [
        ["/api/chat", { messages: undefined }, 400, /messages/],
        ["/api/chat", { messages: [] }, 400, /messages/],
        ["/api/chat", { messages: [{ role: "nobody", content: "x" }] }, 400, /messages\[0\]\.role/],
        ["/api/chat", { messages: [{ role: "user", content: "x", images: ["aGk="] }] }, 400, /images/],
        ["/api/chat", { model: undefined }, 400, /model/],
        ["/api/chat", { model: "nobody" }, 404, /nobody/],
        ["/api/chat", { format: 3 }, 400, /format/],
        ["/api/chat", { format: { type: "nothing" } }, 400, /format/],
        ["/api/chat", { options: 3 }, 400, /options/],
        ["/api/chat", { options: { tfs_z: 0.5 } }, 400, /options\.tfs_z/],
        ["/api/chat", { options: { num_predict: "many" } }, 400, /num_predict/],
        ["/api/chat", { options: { temperature: "hot" } }, 400, /temperature/],
        ["/api/chat", { think: 3 }, 400, /think/],
        ["/api/chat", { logprobs: true }, 400, /logprobs/],
        ["/api/generate", { messages: undefined }, 400, /prompt/],
        ["/api/generate", { messages: undefined, prompt: "x", suffix: "y" }, 400, /suffix/],
        ["/api/generate", { messages: undefined, prompt: "x", images: ["aGk="] }, 400, /images/],
        ["/api/generate", { messages: undefined, prompt: "x", raw: "yes" }, 400, /raw/],
        ["/api/show", { model: undefined, messages: undefined }, 400, /model/],
    ];

    for (const [path, members, status, message] of cases) {
        const said = await post(path, { model, messages, ...members });
        assert.equal(said.status, status, JSON.stringify([path, members, said.text]));
        assert.deepEqual(Object.keys(said.json), ["error"]);
        assert.match(said.json.error, message);
    }
    const e = await failure(client.chat({ model: "nobody", messages }));
    assert.equal(e.status_code, 404);
    assert.match(e.error, /nobody/);
    assert.equal(typeof (await ask(daemon, "GET", "/api/nothing")).json.error, "string");
});
