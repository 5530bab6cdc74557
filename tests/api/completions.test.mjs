// completions.test.mjs - /v1/completions in full: echo, logprobs of prompts, best_of, suffix; and what
// llama-server's clients ask besides: /infill, /apply-template, /slots, timings.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { ask, chat, complete, events, startDaemon, until } from "./daemon.mjs";

let daemon;
let client;
const model = "seedling-32m-mha-q8_0";

before(async () => {
    daemon = await startDaemon("--cache", "xq4");
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const ids = async (content) =>
    (await ask(daemon, "POST", "/tokenize", { content, add_special: true })).json.tokens;

// What lm-evaluation-harness makes of an answer (its local-completions, parse_logprobs).
function parseLogprobs(choice, contextLength) {
    const logprobs = choice.logprobs.token_logprobs.slice(contextLength, -1);
    const best = choice.logprobs.top_logprobs.slice(contextLength, -1);

    return [logprobs.reduce((a, b) => a + b, 0),
        logprobs.every((x, i) => x === Math.max(...Object.values(best[i])))];
}

test("lm-evaluation-harness reads the likelihood of a continuation", async () => {
    const context = await ids("The capital of France is");
    const greedy = (await complete(daemon, { prompt: context, temperature: 0, max_tokens: 40,
        logprobs: 1, ignore_eos: true, return_token_ids: true })).json.choices[0];
    const other = [...greedy.token_ids.slice(0, -1), greedy.token_ids[0]];
    const asked = { model, temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true };
    const { choices } = await client.completions.create({ ...asked,
        prompt: [[...context, ...greedy.token_ids], [...context, ...other]] });

    // a token of the prompt has the very logprob that it had when it was sampled
    assert.equal(choices[0].logprobs.tokens.length, context.length + 40 + 1);
    assert.deepEqual(choices[0].logprobs.token_logprobs.slice(context.length, -1),
        greedy.logprobs.token_logprobs);
    assert.deepEqual(parseLogprobs(choices[0], context.length),
        [greedy.logprobs.token_logprobs.reduce((a, b) => a + b, 0), true]);
    assert.equal(parseLogprobs(choices[1], context.length)[1], false);
    assert.equal(choices[0].logprobs.token_logprobs[0], null);
    assert.equal(choices[0].logprobs.top_logprobs[0], null);
});

test("echo alone: no token is made, and offsets count into the text", async () => {
    const text = "Zoë's café — naïve 日本. The end of it.\n\n".repeat(12);
    const answer = await client.completions.create(
        { model, prompt: text, max_tokens: 0, echo: true, logprobs: 2 });
    const [{ logprobs, text: told, finish_reason }] = answer.choices;
    const points = [...told];

    assert.equal(told, text);
    assert.equal(finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 0);
    assert.equal(logprobs.tokens.length, answer.usage.prompt_tokens);
    for (const key of ["token_logprobs", "top_logprobs", "text_offset"])
        assert.equal(logprobs[key].length, logprobs.tokens.length);
    logprobs.tokens.forEach((token, i) => {
        if (token.startsWith("bytes:") || token === "<|endoftext|>") return;
        assert.equal(points.slice(logprobs.text_offset[i]).join("").slice(0, token.length), token);
    });
    assert.ok(logprobs.token_logprobs.slice(1).every((x) => x < 0));

    // the second time the cache has it, and is not asked
    const again = await client.completions.create(
        { model, prompt: text, max_tokens: 0, echo: true, logprobs: 2 });
    assert.deepEqual(again.choices, answer.choices);
    assert.equal(again.usage.prompt_tokens_details.cached_tokens, 0);
    const plain = await client.completions.create({ model, prompt: text, max_tokens: 1, echo: true });
    assert.ok(plain.usage.prompt_tokens_details.cached_tokens >= 128);
    assert.equal(plain.choices[0].logprobs, null);
    assert.ok(plain.choices[0].text.startsWith(text));
});

test("an echo is streamed with the first token", async () => {
    const body = { prompt: "The city of Paris", max_tokens: 6, temperature: 0, echo: true, logprobs: 1,
        ignore_eos: true };
    const whole = (await complete(daemon, body)).json.choices[0];
    const told = events((await complete(daemon, { ...body, stream: true })).text)
        .filter((e) => e !== "[DONE]").map((e) => e.choices[0]);

    assert.ok(told[0].text.startsWith(body.prompt) && told[0].text.length > body.prompt.length);
    assert.equal(told.map((c) => c.text).join(""), whole.text);
    assert.deepEqual(told.flatMap((c) => c.logprobs.text_offset), whole.logprobs.text_offset);
    assert.deepEqual(told.flatMap((c) => c.logprobs.token_logprobs), whole.logprobs.token_logprobs);
});

test("several answers have one echo each, of one reading", async () => {
    const { json } = await complete(daemon, { prompt: ["One two", "Three"], n: 2, echo: true, logprobs: 0,
        max_tokens: 3, ignore_eos: true, seed: 3 });

    assert.deepEqual(json.choices.map((c) => c.index), [0, 1, 2, 3]);
    json.choices.forEach((c, i) => assert.ok(c.text.startsWith(["One two", "Three"][i >> 1])));
    for (const [a, b] of [[0, 1], [2, 3]]) {
        const n = json.choices[a].logprobs.tokens.length - 3;
        assert.deepEqual(json.choices[a].logprobs.token_logprobs.slice(0, n),
            json.choices[b].logprobs.token_logprobs.slice(0, n));
    }
});

test("prompt_logprobs have vLLM's form, for texts and for chats", async () => {
    const prompt = await ids("The capital of France");
    const { json } = await complete(daemon, { prompt, max_tokens: 0, prompt_logprobs: 3 });
    const { prompt_logprobs: told } = json.choices[0];
    const echoed = (await complete(daemon, { prompt, max_tokens: 0, echo: true, logprobs: 3 }))
        .json.choices[0].logprobs;

    assert.equal(told[0], null);
    assert.equal(told.length, prompt.length);
    told.slice(1).forEach((entry, i) => {
        const own = entry[prompt[i + 1]];
        const ranks = Object.values(entry).map((e) => e.rank).sort((a, b) => a - b);

        assert.equal(own.logprob, echoed.token_logprobs[i + 1]);
        assert.equal(own.decoded_token, echoed.tokens[i + 1]);
        assert.deepEqual(ranks.slice(0, 3), [1, 2, 3]);
        assert.equal(ranks.length, own.rank > 3 ? 4 : 3);
    });
    const said = await chat(daemon, { messages: [{ role: "user", content: "Hi" }], max_tokens: 1,
        prompt_logprobs: 0 });
    assert.equal(said.json.prompt_logprobs.length, said.json.usage.prompt_tokens);
    const streamed = await complete(daemon, { prompt, prompt_logprobs: 1, stream: true });
    assert.equal(streamed.json.error.param, "prompt_logprobs");
});

test("best_of makes more answers than it tells, and tells the likeliest", async () => {
    const body = { prompt: "Once upon a time", max_tokens: 6, seed: 11, temperature: 1.3, logprobs: 0,
        ignore_eos: true };
    const mean = (c) => c.logprobs.token_logprobs.reduce((a, b) => a + b, 0) / 6;
    const all = (await complete(daemon, { ...body, n: 6 })).json;
    const best = (await complete(daemon, { ...body, n: 2, best_of: 6 })).json;
    const order = all.choices.toSorted((a, b) => mean(b) - mean(a));

    assert.deepEqual(best.choices.map((c) => c.text), order.slice(0, 2).map((c) => c.text));
    assert.deepEqual(best.choices.map((c) => c.index), [0, 1]);
    assert.equal(best.usage.completion_tokens, 36);
    const { logprobs, ...silent } = body;
    assert.equal((await complete(daemon, { ...silent, best_of: 6 })).json.choices[0].text, order[0].text);
    for (const wrong of [{ best_of: 3, stream: true }, { n: 3, best_of: 2 }])
        assert.equal((await complete(daemon, { ...body, ...wrong })).json.error.param, "best_of");
});

test("a vocabulary without tokens for a gap refuses a suffix by name", async () => {
    for (const [path, body] of [["/v1/completions", { prompt: "a", suffix: "b" }],
        ["/infill", { input_prefix: "a", input_suffix: "b" }]]) {
        const { status, json } = await ask(daemon, "POST", path, body);
        assert.equal(status, 400);
        assert.equal(json.error.code, "unsupported_parameter");
        assert.match(json.error.param, /suffix$/);
        assert.match(json.error.message, /no token for the prefix/);
    }
});

test("what ended an answer, and how long it took, in every form", async () => {
    const body = { prompt: "One, two, three", max_tokens: 20, temperature: 0 };
    const free = (await complete(daemon, { ...body, ignore_eos: true })).json;
    const stop = free.choices[0].text.slice(3, 6);
    const cut = (await complete(daemon, { ...body, stop: ["never", stop] })).json;

    assert.deepEqual([free.choices[0].stop_reason, cut.choices[0].stop_reason], [null, stop]);
    assert.equal(cut.choices[0].finish_reason, "stop");
    const { timings } = free;
    assert.deepEqual([timings.prompt_n + timings.cache_n, timings.predicted_n],
        [free.usage.prompt_tokens, 20]);
    assert.ok(timings.prompt_ms > 0 && timings.predicted_ms > 0);
    assert.ok(Math.abs(timings.predicted_per_second - 20 / timings.predicted_ms * 1000) < 1);
    for (const include_usage of [true, false]) {
        const told = events((await chat(daemon, { messages: [{ role: "user", content: "Hi" }], max_tokens: 3,
            stream: true, stream_options: { include_usage } })).text).slice(0, -1);
        assert.equal(told.filter((e) => e.timings).length, 1);
        assert.equal(told.at(-1).timings.predicted_n, 3);
    }
});

test("a conversation as the text of a prompt", async () => {
    const messages = [{ role: "user", content: "Hello!" }];
    const { prompt } = (await ask(daemon, "POST", "/apply-template", { messages })).json;

    assert.match(prompt, /<\|im_start\|>user\nHello!<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    const said = (await chat(daemon, { messages, temperature: 0, max_tokens: 8 })).json;
    const plain = (await complete(daemon, { prompt, temperature: 0, max_tokens: 8 })).json;
    assert.equal(plain.choices[0].text, said.choices[0].message.content);
    assert.equal(plain.usage.prompt_tokens, said.usage.prompt_tokens);
    const refused = await ask(daemon, "POST", "/apply-template", { messages: [] });
    assert.equal(refused.json.error.param, "messages");
});

test("slots say what runs, and models what a context costs", async () => {
    const { total_slots, eos_token, bos_token } = (await ask(daemon, "GET", "/props")).json;
    const slots = async () => (await ask(daemon, "GET", "/slots")).json;

    assert.deepEqual([eos_token, bos_token], ["<|endoftext|>", "<|endoftext|>"]);
    assert.equal((await slots()).length, total_slots);
    const stream = await client.completions.create({ model, prompt: "Tell me", max_tokens: 1500,
        ignore_eos: true, stream: true, session_id: "seen" });
    await until(async () => (await slots())[0].is_processing, 5000, "a slot is busy");
    const [busy, idle] = await slots();
    assert.equal(busy.session, "seen");
    assert.match(busy.id_task, /^cmpl-/);
    assert.equal(busy.next_token[0].n_decoded + busy.next_token[0].n_remain, 1500);
    assert.deepEqual([idle.is_processing, idle.n_ctx], [false, 2048]);
    stream.controller.abort();
    await until(async () => !(await slots())[0].is_processing, 5000, "it is idle again");

    const [{ cache, meta }] = (await ask(daemon, "GET", "/v1/models")).json.data;
    assert.deepEqual([cache.mode, cache.block_tokens, meta.n_ctx, meta.n_vocab], ["xq4", 128, 2048, 8192]);
    assert.equal(cache.contexts, Math.floor(cache.capacity_tokens / 2048));
});
