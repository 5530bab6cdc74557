// openai.test.mjs - the official client against the real daemon.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { ask, chat, complete, events, failure, metrics, series, startDaemon, until } from "./daemon.mjs";

let daemon;
let client;
let model;

before(async () => {
    daemon = await startDaemon("--model-name", "org/seedling");
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
    model = (await client.models.list()).data[0].id;
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const hello = [{ role: "user", content: "Hello! Who are you?" }];
const greedy = { temperature: 0, max_tokens: 12 };

test("models are listed and found by name, slashes plain or encoded", async () => {
    assert.equal(model, "org/seedling");
    assert.equal((await client.models.retrieve(model)).id, model);
    const raw = await ask(daemon, "GET", `/v1/models/${model}`);
    assert.equal(raw.status, 200);
    assert.equal(raw.json.max_model_len, 2048);
    assert.equal(raw.json.meta.n_ctx_train, 2048);
    const e = await failure(client.models.retrieve("nobody"));
    assert.equal(e.status, 404);
    assert.equal(e.code, "model_not_found");
});

test("a model has several names where they are given, or any", async () => {
    const named = await startDaemon("--model-name", "own", "--served-model-name", "gpt-4o,org/x");
    const body = (name) => ({ model: name, messages: [{ role: "user", content: "Hi" }], max_tokens: 1 });
    const { json } = await ask(named, "GET", "/v1/models");
    assert.deepEqual(json.data.map((m) => [m.id, m.root]),
        [["own", "own"], ["gpt-4o", "own"], ["org/x", "own"]]);
    assert.equal((await ask(named, "GET", "/v1/models/org/x")).json.id, "org/x");
    for (const name of ["own", "gpt-4o", "org/x"]) {
        const said = await chat(named, body(name));
        assert.deepEqual([said.status, said.json.model], [200, "own"]);
    }
    assert.equal((await chat(named, body("gpt-4"))).status, 404);
    assert.equal((await ask(named, "GET", "/v1/models/gpt-4")).status, 404);
    await named.stop();

    const any = await startDaemon("--model-name", "own", "--any-model");
    assert.equal((await chat(any, body("gpt-4"))).json.model, "own");
    assert.equal((await ask(any, "POST", "/v1/messages", body("claude"))).status, 200);
    assert.equal((await ask(any, "GET", "/v1/models")).json.data.length, 1);
    await any.stop();
});

test("chat answers whole, with usage and a request id", async () => {
    const answer = await client.chat.completions.create({ model, messages: hello, ...greedy });
    const choice = answer.choices[0];

    assert.equal(answer.object, "chat.completion");
    assert.match(answer.id, /^chatcmpl-/);
    assert.equal(choice.message.role, "assistant");
    assert.equal(choice.message.refusal, null);
    assert.equal(choice.logprobs, null);
    assert.ok(choice.message.content.length > 0);
    assert.ok(["stop", "length"].includes(choice.finish_reason));
    assert.equal(answer.usage.total_tokens,
        answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.equal(answer.usage.prompt_tokens_details.cached_tokens, 0);
    assert.ok(answer._request_id);
});

test("chat streams what it answers whole, raw and through .stream()", async () => {
    const body = { model, messages: hello, ...greedy };
    const whole = await client.chat.completions.create(body);
    const chunks = [];

    for await (const chunk of await client.chat.completions.create(
        { ...body, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
    assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
    assert.equal(chunks.slice(1).filter((c) => c.choices[0]?.delta.role).length, 0);
    assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""),
        whole.choices[0].message.content);
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.deepEqual(chunks.at(-1).usage, whole.usage);
    assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
    assert.equal(chunks.at(-2).choices[0].finish_reason, whole.choices[0].finish_reason);
    assert.deepEqual(chunks.at(-2).choices[0].delta, {});

    const final = await client.chat.completions.stream(body).finalChatCompletion();
    assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
});

test("a stream without include_usage has no usage", async () => {
    for (const stream_options of [undefined, {}, { include_usage: false }]) {
        const { text } = await chat(daemon, { messages: hello, ...greedy, stream: true,
            stream_options });
        assert.ok(!text.includes("usage"));
        assert.equal(events(text).at(-1), "[DONE]");
    }
});

test("chat takes parts, every role, and unknown fields", async () => {
    const plain = await client.chat.completions.create({ model, messages: hello, ...greedy });
    const parts = await client.chat.completions.create({ model, ...greedy,
        messages: [{ role: "user", content: [{ type: "text", text: "Hello! " },
            { type: "text", text: "Who are you?" }] }], metadata: { a: "b" }, made_up: [1] });

    assert.equal(parts.choices[0].message.content, plain.choices[0].message.content);
    await client.chat.completions.create({ model, max_tokens: 1, messages: [
        { role: "developer", content: "Be brief." }, ...hello,
        { role: "assistant", content: null, tool_calls: [] },
        { role: "tool", tool_call_id: "x", content: "5" }] });
});

test("completions take text and token ids, and return ids where asked", async () => {
    const body = { model, prompt: "The history of", ...greedy, return_token_ids: true };
    const text = await client.completions.create(body);
    const ids = text.choices[0].prompt_token_ids;
    const again = await client.completions.create({ ...body, prompt: ids });
    const listed = await client.completions.create({ ...body, prompt: [ids] });

    assert.equal(text.object, "text_completion");
    assert.equal(text.choices[0].token_ids.length, text.usage.completion_tokens);
    assert.equal(ids.length, text.usage.prompt_tokens);
    assert.deepEqual(again.choices, text.choices);
    assert.deepEqual(listed.choices, text.choices);
});

test("completions stream in their own shape, ids included", async () => {
    const body = { model, prompt: "The history of", ...greedy, return_token_ids: true };
    const whole = (await client.completions.create(body)).choices[0];
    const chunks = [];

    for await (const chunk of await client.completions.create({ ...body, stream: true }))
        chunks.push(chunk);
    assert.ok(chunks.every((c) => c.object === "text_completion"));
    assert.equal(chunks.map((c) => c.choices[0].text).join(""), whole.text);
    assert.deepEqual(chunks.flatMap((c) => c.choices[0].token_ids), whole.token_ids);
    assert.deepEqual(chunks[0].choices[0].prompt_token_ids, whole.prompt_token_ids);
    assert.equal(chunks.at(-1).choices[0].finish_reason, whole.finish_reason);
    assert.ok(chunks.slice(0, -1).every((c) => c.choices[0].finish_reason === null));
});

// The choices of a stream, put together by their index.
async function gather(stream, text) {
    const choices = [];
    let usage;

    for await (const event of stream) {
        usage = event.usage ?? usage;
        for (const c of event.choices) {
            choices[c.index] ??= { text: "", finish: null };
            choices[c.index].text += text(c) ?? "";
            choices[c.index].finish = c.finish_reason ?? choices[c.index].finish;
        }
    }
    return { choices, usage };
}

test("n answers to a message read it once; the first is the one that n = 1 gives", async () => {
    const body = { model, messages: hello, max_tokens: 16, temperature: 1, seed: 11 };
    const [one, next] = await Promise.all([11, 12].map((seed) =>
        client.chat.completions.create({ ...body, seed })));
    const computed = async () => series(await metrics(daemon), "xquantd_prompt_tokens_total",
        'source="computed"');
    const before = await computed();
    const three = await client.chat.completions.create({ ...body, n: 3 });
    assert.ok(await computed() - before <= one.usage.prompt_tokens);
    assert.deepEqual(three.choices.map((c) => c.index), [0, 1, 2]);
    assert.equal(three.choices[0].message.content, one.choices[0].message.content);
    assert.equal(three.choices[1].message.content, next.choices[0].message.content);
    assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
    assert.ok(three.usage.completion_tokens > one.usage.completion_tokens);

    const streamed = await gather(await client.chat.completions.create({
        ...body, n: 3, stream: true, stream_options: { include_usage: true },
    }), (c) => c.delta.content);
    assert.deepEqual(streamed.choices.map((c) => c.text),
        three.choices.map((c) => c.message.content));
    assert.ok(streamed.choices.every((c) => c.finish));
    assert.deepEqual(streamed.usage, three.usage);
});

test("more answers than may run at once come all the same", async () => {
    const r = await client.chat.completions.create({
        model, messages: hello, n: 20, max_tokens: 4, temperature: 1, seed: 3,
    });
    const last = await client.chat.completions.create({
        model, messages: hello, max_tokens: 4, temperature: 1, seed: 22,
    });
    assert.equal(r.choices.length, 20);
    assert.equal(r.choices[19].message.content, last.choices[0].message.content);
});

test("several prompts are answered in their order, n to each", async () => {
    const prompts = ["Once upon a time", "The capital of France is"];
    const body = { model, ...greedy };
    const alone = await Promise.all(prompts.map((prompt) =>
        client.completions.create({ ...body, prompt })));
    const both = await client.completions.create({ ...body, prompt: prompts, n: 2 });
    assert.deepEqual(both.choices.map((c) => c.index), [0, 1, 2, 3]);
    assert.deepEqual(both.choices.map((c) => c.text),
        [0, 0, 1, 1].map((i) => alone[i].choices[0].text));
    assert.equal(both.usage.prompt_tokens,
        alone[0].usage.prompt_tokens + alone[1].usage.prompt_tokens);
    const streamed = await gather(await client.completions.create({
        ...body, prompt: prompts, n: 2, stream: true,
    }), (c) => c.text);
    assert.deepEqual(streamed.choices.map((c) => c.text), both.choices.map((c) => c.text));
});

test("max_tokens 0 computes the prompt and answers nothing", async () => {
    const answer = await client.completions.create({ model, prompt: "Hello", max_tokens: 0 });

    assert.equal(answer.choices[0].text, "");
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 0);
});

test("a stop string ends the answer and is not part of it, whole or streamed", async () => {
    const body = { model, prompt: "The history of", temperature: 0, max_tokens: 24 };
    const text = (await client.completions.create(body)).choices[0].text;
    const stop = text.slice(5, 9); // across tokens, most likely
    const cut = text.slice(0, text.indexOf(stop));
    const stopped = await client.completions.create({ ...body, stop: [stop, "\u0001never"] });
    let streamed = "";

    assert.equal(stopped.choices[0].text, cut);
    assert.equal(stopped.choices[0].finish_reason, "stop");
    for await (const chunk of await client.completions.create({ ...body, stop, stream: true }))
        streamed += chunk.choices[0].text;
    assert.equal(streamed, cut);
});

test("a seed gives the same answer again, and another seed another", async () => {
    const sample = async (seed) => (await client.chat.completions.create(
        { model, messages: hello, temperature: 1.5, max_tokens: 24, seed })).choices[0].message.content;
    const answers = await Promise.all([7, 7, 8, 9, 10].map(sample));

    assert.equal(answers[0], answers[1]);
    assert.ok(new Set(answers).size > 2);
});

test("logit_bias bans and forces tokens", async () => {
    const body = { model, prompt: "The history of", temperature: 0, max_tokens: 4,
        ignore_eos: true, return_token_ids: true };
    const [first] = (await client.completions.create(body)).choices[0].token_ids;
    const banned = await client.completions.create({ ...body, logit_bias: { [first]: -100 } });
    const forced = await client.completions.create({ ...body, logit_bias: { 300: 100 } });

    assert.ok(!banned.choices[0].token_ids.includes(first));
    assert.deepEqual(forced.choices[0].token_ids, [300, 300, 300, 300]);
});

test("legacy logprobs are four arrays, and the best is recognised by equality", async () => {
    const answer = await client.completions.create({ model, prompt: "The history of", ...greedy,
        ignore_eos: true, logprobs: 3 });
    const l = answer.choices[0].logprobs;

    for (const list of [l.tokens, l.token_logprobs, l.top_logprobs, l.text_offset])
        assert.equal(list.length, 12);
    l.token_logprobs.forEach((p, i) =>
        assert.equal(p, Math.max(...Object.values(l.top_logprobs[i]))));
    assert.equal(l.tokens.join(""), answer.choices[0].text);
    assert.equal(l.text_offset[1], [...l.tokens[0]].length);
    assert.equal(Object.keys(l.top_logprobs[0]).length, 3);
});

test("a sampled token that is not among the best is listed beside them", async () => {
    const answer = await client.completions.create({ model, prompt: "The history of",
        max_tokens: 8, ignore_eos: true, logprobs: 2, logit_bias: { 300: 100 }, temperature: 0 });

    for (const best of answer.choices[0].logprobs.top_logprobs)
        assert.equal(Object.keys(best).length, 3);
});

test("chat logprobs carry bytes, and the stream carries the same", async () => {
    const body = { model, messages: hello, ...greedy, logprobs: true, top_logprobs: 2 };
    const whole = (await client.chat.completions.create(body)).choices[0];
    const streamed = [];

    for await (const chunk of await client.chat.completions.create({ ...body, stream: true }))
        streamed.push(...(chunk.choices[0].logprobs?.content ?? []));
    assert.deepEqual(streamed, whole.logprobs.content);
    const bytes = Buffer.from(whole.logprobs.content.flatMap((t) => t.bytes ?? []));
    assert.equal(bytes.toString("utf8"), whole.message.content);
    for (const token of whole.logprobs.content) {
        assert.equal(token.top_logprobs.length, 2);
        assert.equal(token.logprob, token.top_logprobs[0].logprob);
    }
});

test("what is wrong is said with status, code and parameter", async () => {
    const cases = [
        [{ messages: hello, model: "gpt-4" }, 404, "model_not_found", "model"],
        [{ model, messages: [] }, 400, "invalid_value", "messages"],
        [{ model, messages: [{ role: "king", content: "x" }] }, 400, "invalid_value",
            "messages[0].role"],
        [{ model, messages: hello, temperature: 9 }, 400, "invalid_value", "temperature"],
        [{ model, messages: hello, n: 129 }, 400, "invalid_value", "n"],
        [{ model, messages: hello, tools: [{ type: "function", function: { name: "a b" } }] }, 400,
            "invalid_value", "tools[0].function.name"],
        [{ model, messages: hello, response_format: { type: "yaml" } }, 400,
            "unsupported_parameter", "response_format"],
        [{ model }, 400, "missing_required_parameter", "messages"],
    ];

    for (const stream of [false, true]) {
        for (const [body, status, code, param] of cases) {
            const e = await failure(client.chat.completions.create({ ...body, stream }));
            assert.deepEqual([e.status, e.code, e.param, e.type],
                [status, code, param, "invalid_request_error"], JSON.stringify(body));
        }
    }
});

test("what would change the answer is refused by name, and what is unknown is logged once", async () => {
    const refused = { ebnf: "root ::= x", structural_tag: { format: 1 }, min_tokens: 4,
        stop_token_ids: [2], n_predict: 8, modalities: ["text", "audio"],
        include_stop_str_in_output: true, truncate_prompt_tokens: 5 };

    for (const [member, value] of Object.entries(refused)) {
        const { status, json } = await chat(daemon, { messages: hello, max_tokens: 1, [member]: value });
        assert.deepEqual([status, json.error.param, json.error.code],
            [400, member, "unsupported_parameter"]);
    }
    for (let i = 0; i < 2; i++) {
        const { status } = await chat(daemon, { messages: hello, max_tokens: 1, made_up: "secret" });
        assert.equal(status, 200);
    }
    const lines = daemon.log.split("\n").filter((line) => line.includes("made_up"));
    assert.equal(lines.length, 1);
    assert.equal(JSON.parse(lines[0]).name, "made_up");
    assert.ok(!daemon.log.includes("secret"));
});

test("a body that is no JSON is a 400 with all four keys", async () => {
    for (const body of ["", "{", "[]", '{"prompt":"a\\u0000b"}', Buffer.from([0x22, 0xff, 0x22])]) {
        const { status, json } = await complete(daemon, body);
        assert.equal(status, 400);
        assert.deepEqual(Object.keys(json.error).sort(), ["code", "message", "param", "type"]);
    }
});

test("a context that is too long is refused in the words that clients look for", async () => {
    const words = Array.from({ length: 3000 }, () => "word").join(" ");
    const body = { model, messages: [{ role: "user", content: words }], max_tokens: 5 };

    for (const stream of [false, true]) {
        const e = await failure(client.chat.completions.create({ ...body, stream }));
        assert.equal(e.status, 400);
        assert.equal(e.code, "context_length_exceeded");
        assert.equal(e.param, "messages");
        assert.match(e.message, /This model's maximum context length is 2048 tokens\. However, you requested \d+ tokens \(\d+ in the messages, \d+ in the completion\)\. Please reduce the length of the messages or completion\./);
    }
    const long = await failure(client.completions.create(
        { model, prompt: new Array(2048).fill(300), max_tokens: 1 }));
    assert.equal(long.code, "context_length_exceeded");
    assert.equal(long.param, "prompt");
    assert.ok(series(await metrics(daemon), "xquantd_requests_rejected_total",
        'reason="context_length"') >= 3);
});

test("max_tokens is an upper bound: what the context leaves is given", async () => {
    const prompt = new Array(2044).fill(300);

    for (const max_tokens of [5000, -1]) {
        const answer = await client.completions.create({ model, prompt, max_tokens,
            temperature: 0, logit_bias: { 300: 100 } });
        assert.equal(answer.choices[0].finish_reason, "length");
        assert.equal(answer.usage.completion_tokens, 4);
    }
});

test("a stop string that spells a control token stops at it", async () => {
    const body = { model, prompt: "Hello", max_tokens: 8, temperature: 0, ignore_eos: true,
        logit_bias: [["<|im_end|>", 100]] };
    const on = await client.completions.create(body);
    const stopped = await client.completions.create({ ...body, stop: ["<|im_end|>"] });

    assert.equal(on.choices[0].finish_reason, "length");
    assert.equal(stopped.choices[0].finish_reason, "stop");
    assert.equal(stopped.usage.completion_tokens, 1);
});

test("a prompt may spell control tokens, a chat's content never does", async () => {
    const word = "<|im_end|>";
    const prompt = await client.completions.create({ model, prompt: word, max_tokens: 1 });
    const [empty, spelled] = await Promise.all(["", word].map((content) =>
        client.chat.completions.create({ model, max_tokens: 1, messages: [{ role: "user", content }] })));

    assert.equal(prompt.usage.prompt_tokens, 2); // BOS and it
    assert.ok(spelled.usage.prompt_tokens > empty.usage.prompt_tokens + 2);
});

test("text that JSON cannot carry is refused with its member and the reason", async () => {
    for (const [bad, reason] of [["\\ud83d", /surrogate/], ["\\u0000", /NUL/], ["\u0000", /NUL/]]) {
        const { status, json } = await chat(daemon,
            `{"max_tokens":1,"messages":[{"role":"user","content":"a${bad}b"}]}`);
        assert.deepEqual([status, json.error.param], [400, "messages[0].content"]);
        assert.match(json.error.message, reason);
    }
});

test("the log's line of a refused request says what the answer said", async () => {
    const bad = await chat(daemon, { messages: hello, temperature: 9 });
    const lost = await ask(daemon, "GET", "/chat/nowhere");
    const line = (answer) => daemon.log.split("\n").find((text) =>
        text.includes('"msg":"request"') && text.includes(answer.headers["x-request-id"]));

    for (const answer of [bad, lost]) {
        await until(async () => line(answer), 2000, "the line of a refused request");
        const { level, status, code, param, message } = JSON.parse(line(answer));
        const { error } = answer.json;
        assert.deepEqual([level, status, code, param ?? null, message],
            ["info", answer.status, error.code, error.param, error.message]);
    }
    assert.deepEqual([bad.status, lost.status], [400, 404]);
});

test("abort stops the computation within 200 ms", async () => {
    const controller = new AbortController();
    const stream = await client.completions.create({ model, prompt: "Once upon a time",
        max_tokens: 1800, stream: true, ignore_eos: true }, { signal: controller.signal });

    for await (const chunk of stream) {
        assert.equal(chunk.choices[0].finish_reason, null);
        break;
    }
    controller.abort();
    await until(async () => series(await metrics(daemon), "xquantd_requests_running") === 0, 200,
        "requests_running falls");
    const made = async () => series(await metrics(daemon), "xquantd_generation_tokens_total");
    const then = await made();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(await made(), then);
    assert.ok(series(await metrics(daemon), "xquantd_requests_total", 'finish_reason="abort"') > 0);
});

test("a megabyte of prompt does not hold up other answers", async () => {
    const big = complete(daemon, { prompt: "word ".repeat(400000), max_tokens: 1 });
    const start = performance.now();

    assert.equal((await ask(daemon, "GET", "/health")).status, 200);
    assert.ok(performance.now() - start < 500);
    const { status, json } = await big;
    assert.equal(status, 400);
    assert.equal(json.error.code, "context_length_exceeded");
});

test("health, readiness and version answer on both listeners", async () => {
    for (const port of [daemon.port, daemon.adminPort]) {
        for (const path of ["/livez", "/readyz"]) {
            const { status, text } = await ask(daemon, "GET", path, undefined, {}, port);
            assert.deepEqual([status, text], [200, ""]);
        }
        const { status, json } = await ask(daemon, "GET", "/health", undefined, {}, port);
        assert.deepEqual([status, json.status], [200, "ok"]);
        assert.ok(json.cache.capacity_bytes >= json.cache.used_bytes && json.cache.contexts > 0);
        assert.equal(json.cache.rewind_bytes, 0); // no windows
        assert.ok((await ask(daemon, "GET", "/version", undefined, {}, port)).json.version);
    }
});

test("each generation leaves one line with its figures in the log", async () => {
    const { headers } = await complete(daemon, { prompt: "Hi", max_tokens: 2, ignore_eos: true });
    const id = headers["x-request-id"];
    const lines = () => daemon.log.split("\n").filter((l) => l.includes(id)).map(JSON.parse);

    await until(async () => lines().some((l) => l.msg === "generation"), 1000, "the line");
    const [line] = lines().filter((l) => l.msg === "generation");
    assert.equal(line.completion_tokens, 2);
    assert.equal(line.finish, "length");
    assert.ok(line.ttft_ms > 0 && line.total_ms >= line.ttft_ms && line.queue_ms >= 0);
    assert.ok(!daemon.log.includes("Who are you"));
});
