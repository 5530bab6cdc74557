// embeddings.test.mjs - /v1/embeddings, /api/embed and /api/embeddings by their official clients: of a
// chat model, and of random models that make nothing else.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { embedMany } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

import { ask, chat, failure, newFile, newFolder, startDaemon } from "./daemon.mjs";

const build = (process.env.XQUANTD ?? "build/xquantd").replace(/\/[^/]*$/, "");
const model = "seedling";
const keys = newFile("sk-small tokens=300 name=small\nsk-other name=other\n");
let daemon;
let client;
let bert;

// A random model's file.
function randomModel(name, ...args) {
    const path = join(newFolder(), name);

    execFileSync(`${build}/tests/tools/random_model`, [...args, path]);
    return path;
}

before(async () => {
    daemon = await startDaemon("--model-name", model);
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
    bert = await startDaemon("--model", randomModel("bert.gguf", "--arch", "bert", "--d", "64",
        "--layers", "2", "--heads", "4", "--kv-heads", "4", "--ffn", "96", "--ctx", "256", "--vocab",
        "8192", "--pooling", "2", "--type", "f32", "--tokens", "models/seedling-32m-mha-q8_0.gguf"));
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
    assert.deepEqual(await bert.stop(), { code: 0, signal: null });
});

const lengthOf = (vector) => Math.hypot(...vector);
const embed = (body, of = daemon) => ask(of, "POST", "/v1/embeddings", body);
const vectorsOf = (said) => said.json.data.map((entry) => entry.embedding);

test("the client's default, base64, gives the numbers that floats give", async () => {
    const input = ["The sea is blue.", "A boat on the sea.", "Taxes are due."];
    const coded = await client.embeddings.create({ model, input });
    const floats = await client.embeddings.create({ model, input, encoding_format: "float" });

    assert.equal(coded.object, "list");
    assert.equal(coded.model, model);
    assert.deepEqual(coded.data.map((entry) => [entry.object, entry.index]),
        [["embedding", 0], ["embedding", 1], ["embedding", 2]]);
    for (const [i, { embedding }] of coded.data.entries()) {
        assert.equal(embedding.length, 384);
        assert.ok(Math.abs(lengthOf(embedding) - 1) < 1e-5);
        assert.deepEqual(Array.from(embedding), floats.data[i].embedding.map(Math.fround));
    }
    assert.ok(coded.usage.prompt_tokens > 9);
    assert.equal(coded.usage.total_tokens, coded.usage.prompt_tokens);
});

test("a text's vector is the same alone, among others, as ids, and with others' requests", async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `${"word ".repeat(i % 13)}number ${i}.`);
    const all = await embed({ input: texts });
    const some = await Promise.all([3, 17, 30].map((i) => embed({ input: texts[i] })));
    const { json } = await ask(daemon, "POST", "/tokenize", { prompt: texts[17] });

    assert.equal(all.json.data.length, 40);
    assert.deepEqual(some.map((said) => vectorsOf(said)[0]),
        [3, 17, 30].map((i) => vectorsOf(all)[i]));
    assert.deepEqual(vectorsOf(await embed({ input: json.tokens }))[0], vectorsOf(all)[17]);
    const two = await embed({ input: [json.tokens, [5, 6, 7]] });
    assert.deepEqual(vectorsOf(two)[0], vectorsOf(all)[17]);
    assert.equal(two.json.usage.prompt_tokens, json.tokens.length + 3);
});

test("what is wrong is a 400 that names it", async () => {
    const wrong = [
        [{}, "input", "'input' is required."],
        [{ input: "" }, "input", "Text 0 of 'input' is empty."],
        [{ input: ["a", ""] }, "input", "Text 1 of 'input' is empty."],
        [{ input: [] }, "input", "Text 0 of 'input' has no tokens."],
        [{ input: [[]] }, "input", "Text 0 of 'input' has no tokens."],
        [{ input: 5 }, "input", /must be a string/],
        [{ input: [1, -1] }, "input", /integer from 0 to/],
        [{ input: ["a", 1] }, "input", /must be a string/],
        [{ input: Array(2049).fill("a") }, "input", /2048 texts at most/],
        [{ input: "a", encoding_format: "int8" }, "encoding_format", /float/],
        [{ input: "a", dimensions: 12 }, "dimensions", /does not say that it was trained for fewer/],
        [{ input: "a", dimensions: 999 }, "dimensions", /have 384 dimensions/],
        [{ input: "a", dimensions: 0 }, "dimensions", /dimensions/],
        [{ input: "a", model: "nobody" }, "model", /does not exist/],
    ];

    for (const [body, param, sentence] of wrong) {
        const said = await embed(body);

        assert.equal(said.status, body.model ? 404 : 400, JSON.stringify(body).slice(0, 99));
        assert.equal(said.json.error.param, param);
        if (sentence instanceof RegExp) assert.match(said.json.error.message, sentence);
        else assert.equal(said.json.error.message, sentence);
    }
    assert.equal((await embed({ input: "a", dimensions: 384 })).status, 200);
});

test("a text that is too long is refused with both numbers, and cut for Ollama's clients", async () => {
    const input = "word ".repeat(2100);
    const ollama = new Ollama({ host: daemon.url });
    const error = await failure(client.embeddings.create({ model, input: ["short", input] }));

    assert.equal(error.status, 400);
    assert.equal(error.code, "context_length_exceeded");
    assert.match(error.message, /2048 tokens for an embedding, however text 1 of 'input' has 2\d\d\d tokens/);
    const cut = await ollama.embed({ model, input });
    assert.equal(cut.prompt_eval_count, 2048);
    await assert.rejects(ollama.embed({ model, input, truncate: false }), /2048 tokens/);
    assert.match((await embed({ input: "word ".repeat(60000) })).json.error.message, /more than 10240/);
});

test("Ollama's client gets what OpenAI's does, by both of its calls", async () => {
    const ollama = new Ollama({ host: daemon.url });
    const input = ["The sea is blue.", "A boat on the sea."];
    const vectors = vectorsOf(await embed({ input }));
    const said = await ollama.embed({ model: `${model}:latest`, input });

    assert.deepEqual(said.embeddings, vectors);
    assert.equal(said.model, model);
    assert.ok(said.total_duration > 0 && said.prompt_eval_count > 8);
    assert.deepEqual((await ollama.embed({ model, input: input[1] })).embeddings, [vectors[1]]);
    assert.deepEqual((await ollama.embeddings({ model, prompt: input[0] })).embedding, vectors[0]);
    assert.deepEqual((await ollama.embed({ model, input: "" })).embeddings, []);
    assert.deepEqual((await ollama.embeddings({ model, prompt: "" })).embedding, []);
});

test("embedMany of the AI SDK asks in one request", async () => {
    const values = ["one", "two", "three"];
    const provider = createOpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none" });
    const said = await embedMany({ model: provider.textEmbeddingModel(model), values });

    assert.deepEqual(said.embeddings, vectorsOf(await embed({ input: values })));
    assert.ok(said.usage.tokens > 0);
});

test("a model for embeddings alone says so where it is asked to chat", async () => {
    const said = await chat(bert, { messages: [{ role: "user", content: "hi" }] });
    const { json } = await ask(bert, "GET", "/v1/models");
    const vectors = vectorsOf(await embed({ input: ["a b c", "d"] }, bert));

    assert.equal(said.status, 400);
    assert.match(said.json.error.message, /makes embeddings alone \(POST \/v1\/embeddings\)/);
    assert.equal((await ask(bert, "POST", "/v1/completions", { prompt: "a" })).status, 400);
    assert.equal((await ask(bert, "POST", "/api/chat", { model: "bert", messages: [] })).status, 400);
    assert.deepEqual(json.data[0].capabilities, ["embedding"]);
    assert.equal(json.data[0].meta.n_embd, 64);
    assert.equal(json.data[0].meta.embedding_tokens, 256);
    assert.ok(vectors.every((vector) => vector.length === 64 && Math.abs(lengthOf(vector) - 1) < 1e-5));
    assert.deepEqual((await ask(daemon, "GET", "/v1/models")).json.data[0].capabilities,
        ["completion", "embedding"]);
});

test("texts count against a key's limits, and in the metrics", async () => {
    const locked = await startDaemon("--model-name", model, "--api-key-file", keys);
    const as = (key, body) => ask(locked, "POST", "/v1/embeddings", body,
        { authorization: `Bearer ${key}` });

    assert.equal((await as("sk-wrong", { input: "a" })).status, 401);
    assert.equal((await as("sk-small", { input: "a" })).status, 200);
    const much = await as("sk-small", { input: Array(200).fill("some words") });
    assert.equal(much.status, 400);
    assert.match(much.json.error.message, /may not have so many tokens/);
    const said = await as("sk-other", { input: Array(200).fill("some words") });
    const { text } = await ask(locked, "GET", "/metrics", undefined, {}, locked.adminPort);
    const of = (name) => Number(text.match(new RegExp(`^xquantd_${name}{.*} (\\d+)$`, "m"))[1]);
    assert.equal(of("embedding_texts_total"), 201);
    assert.ok(of("embedding_tokens_total") > said.json.usage.prompt_tokens);
    assert.deepEqual(await locked.stop(), { code: 0, signal: null });
});
