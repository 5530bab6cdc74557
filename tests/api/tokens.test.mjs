// tokens.test.mjs - /tokenize, /detokenize and /props, and the routes without /v1.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { ask, complete, startDaemon } from "./daemon.mjs";

let daemon;

before(async () => {
    daemon = await startDaemon("--model-name", "seedling");
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const tokenize = async (body) => (await ask(daemon, "POST", "/tokenize", body)).json;
const detokenize = async (tokens) => (await ask(daemon, "POST", "/detokenize", { tokens })).json;
const text = "Über die Brücke — 12,345 Schritte 👍🏽\n\tund zurück.";

test("ids of a text are those that a completion reads", async () => {
    const { json } = await complete(daemon, { prompt: text, max_tokens: 1, return_token_ids: true });
    const { tokens, count, max_model_len } = await tokenize({ prompt: text });

    assert.deepEqual(tokens, json.choices[0].prompt_token_ids);
    assert.equal(count, tokens.length);
    assert.equal(max_model_len, 2048);
});

test("llama-server's words and vLLM's differ in BOS alone", async () => {
    const plain = (await tokenize({ content: text })).tokens;
    const asked = (await tokenize({ content: text, add_special: true })).tokens;
    const peers = (await tokenize({ prompt: text })).tokens;

    assert.deepEqual(asked, peers);
    assert.deepEqual((await tokenize({ prompt: text, add_special_tokens: false })).tokens, plain);
    assert.deepEqual(peers.slice(peers.length - plain.length), plain);
});

test("control tokens are recognised, unless they are to be text", async () => {
    const turn = "<|im_start|>user\nHello<|im_end|>";
    const as = async (parse_special) => (await tokenize({ content: turn, parse_special })).tokens;

    assert.ok((await as(false)).length > (await as(true)).length + 4);
    assert.deepEqual(await as(true), await as(undefined));
    assert.equal((await detokenize(await as(true))).content, turn);
    assert.equal((await detokenize(await as(false))).prompt, turn);
});

test("texts of tokens come as objects or as a list, half a character as bytes", async () => {
    const { tokens } = await tokenize({ content: text, with_pieces: true });
    const bytes = tokens.flatMap(({ piece }) => [...(typeof piece === "string" ? Buffer.from(piece) : piece)]);
    const strings = (await tokenize({ prompt: "a few words", return_token_strs: true, add_special_tokens: false })).token_strs;

    assert.equal(Buffer.from(bytes).toString(), text);
    assert.ok(tokens.some(({ piece }) => Array.isArray(piece)), "the thumb is more than one token");
    assert.equal(strings.join("").trim(), "a few words");
});

test("what is asked wrongly is refused by name", async () => {
    const cases = [
        ["/tokenize", {}, 400, "content"],
        ["/tokenize", { content: 7 }, 400, "content"],
        ["/tokenize", { content: "a", with_pieces: "yes" }, 400, "with_pieces"],
        ["/tokenize", { messages: [] }, 400, "messages"],
        ["/tokenize", [], 400, null],
        ["/detokenize", {}, 400, "tokens"],
        ["/detokenize", { tokens: "1 2" }, 400, "tokens"],
        ["/detokenize", { tokens: [1, -1] }, 400, "tokens"],
        ["/detokenize", { tokens: [1, 1e9] }, 400, "tokens"],
        ["/detokenize", { tokens: [1.5] }, 400, "tokens"],
    ];

    for (const [path, body, status, param] of cases) {
        const got = await ask(daemon, "POST", path, body);

        assert.deepEqual([got.status, got.json.error.param], [status, param], `${path} ${JSON.stringify(body)}`);
    }
    assert.equal((await detokenize([])).content, "");
    assert.deepEqual((await tokenize({ content: "" })).tokens, []);
});

test("a text far beyond the context is counted, and nobody waits for it", async () => {
    const long = "seven words are in this one sentence. ".repeat(20000);
    const [{ count }, other] = await Promise.all([tokenize({ content: long }),
        complete(daemon, { prompt: "Hello", max_tokens: 1 })]);

    assert.ok(count > 100000);
    assert.equal(other.status, 200);
});

test("props say the context, the defaults of sampling and the template", async () => {
    const { json } = await ask(daemon, "GET", "/props");
    const { n_ctx, params } = json.default_generation_settings;

    assert.equal(n_ctx, 2048);
    assert.equal(params.temperature, 1);
    assert.equal(params.xtc_threshold, 0.1);
    assert.equal(json.total_slots, 8);
    assert.equal(json.model_alias, "seedling");
    assert.match(json.chat_template, /messages/);
    assert.deepEqual(json.modalities, { vision: false, audio: false });
    assert.ok(!JSON.stringify(json).includes(".gguf"), "no path of the machine");
});

test("a base URL without /v1 serves the same client", async () => {
    const client = new OpenAI({ baseURL: daemon.url, apiKey: "none", maxRetries: 0 });

    assert.equal((await client.models.list()).data[0].id, "seedling");
    const answer = await client.chat.completions.create({ model: "seedling", max_tokens: 2,
        messages: [{ role: "user", content: "Hello!" }] });
    assert.equal(answer.object, "chat.completion");
    assert.equal((await client.completions.create({ model: "seedling", prompt: "A", max_tokens: 1 })).object,
        "text_completion");
});
