// responses.test.mjs - /v1/responses by the official client, and by the AI SDK, whose default it is.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, Output, streamText } from "ai";
import OpenAI from "openai";

import { ask, failure, newFile, startDaemon, until } from "./daemon.mjs";

let daemon;
let client;
const model = "seedling";
const greedy = { model, temperature: 0, max_output_tokens: 12 };

before(async () => {
    daemon = await startDaemon("--model-name", model);
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const post = (body) => ask(daemon, "POST", "/v1/responses", body);
const withoutIds = (text) => text.replace(/(resp|msg)_[0-9a-f]{32,}/g, "$1");

test("a response has all that the client's types ask for", async () => {
    const r = await client.responses.create({ ...greedy, input: "Hello! Who are you?",
        instructions: "Be brief.", metadata: { a: "b" } });

    assert.match(r.id, /^resp_[0-9a-f]{32}$/);
    assert.equal(r.object, "response");
    assert.equal(r.status, "incomplete");
    assert.deepEqual(r.incomplete_details, { reason: "max_output_tokens" });
    assert.equal(r.error, null);
    assert.equal(r.instructions, "Be brief.");
    assert.deepEqual(r.metadata, { a: "b" });
    assert.deepEqual([r.tools, r.tool_choice, r.parallel_tool_calls, r.temperature, r.top_p],
        [[], "auto", true, 0, 1]);
    assert.equal(r.output.length, 1);
    assert.equal(r.output[0].role, "assistant");
    assert.equal(r.output_text, r.output[0].content[0].text);
    assert.ok(r.output_text.length > 0);
    assert.equal(r.usage.output_tokens, 12);
    assert.equal(r.usage.total_tokens, r.usage.input_tokens + 12);
    assert.equal(r.usage.output_tokens_details.reasoning_tokens, 0);
});

test("it says what a chat completion of the same messages says", async () => {
    const chat = await client.chat.completions.create({ model, temperature: 0, max_tokens: 12,
        messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Hello!" }] });
    const r = await client.responses.create({ ...greedy, instructions: "Be brief.",
        input: [{ role: "user", content: [{ type: "input_text", text: "Hello!" }] }] });

    assert.equal(r.output_text, chat.choices[0].message.content);
    assert.equal(r.usage.input_tokens, chat.usage.prompt_tokens);
    const { input_tokens } = await client.responses.inputTokens.count({ model,
        instructions: "Be brief.", input: "Hello!" });
    assert.equal(input_tokens, chat.usage.prompt_tokens);
});

test("a stream's events come in order, are numbered, and equal the whole", async () => {
    const body = { ...greedy, input: "Tell me of the sea." };
    const whole = await client.responses.create(body);
    const events = [];

    for await (const event of await client.responses.create({ ...body, stream: true }))
        events.push(event);
    assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
    const types = events.map((e) => e.type.replace("response.", ""));
    const deltas = types.filter((type) => type === "output_text.delta").length;
    assert.deepEqual(types, ["created", "in_progress", "output_item.added", "content_part.added",
        ...Array(deltas).fill("output_text.delta"), "output_text.done", "content_part.done",
        "output_item.done", "incomplete"]);
    assert.equal(events.filter((e) => e.delta).map((e) => e.delta).join(""), whole.output_text);
    assert.ok(events.filter((e) => e.item_id).every((e) =>
        e.item_id === events[2].item.id && e.output_index === 0 && e.content_index === 0));
    const last = events.at(-1).response;
    assert.deepEqual(JSON.parse(withoutIds(JSON.stringify({ ...last, created_at: 0, usage: 0 }))),
        JSON.parse(withoutIds(JSON.stringify({ ...whole, created_at: 0, usage: 0,
            output_text: undefined }))));
    assert.equal(last.usage.output_tokens, whole.usage.output_tokens);
    const final = await client.responses.stream(body).finalResponse();
    assert.equal(final.output_text, whole.output_text);
});

test("an answer that ends by itself is completed", async () => {
    const r = await client.responses.create({ model, input: "Hi", text: { format: {
        type: "json_schema", name: "n", strict: true, schema: { type: "object",
            properties: { a: { type: "boolean" } }, required: ["a"], additionalProperties: false },
    } } });

    assert.equal(r.status, "completed");
    assert.equal(r.output[0].status, "completed");
    assert.equal(typeof JSON.parse(r.output_text).a, "boolean");
});

test("parse gives the object that a schema asks for", async () => {
    const schema = { type: "object", properties: { color: { enum: ["red", "blue"] } },
        required: ["color"], additionalProperties: false };
    const r = await client.responses.parse({ model, input: "A color, please.",
        text: { format: { type: "json_schema", name: "color", schema, strict: true } } });

    assert.ok(["red", "blue"].includes(r.output_parsed.color));
    const any = await client.responses.create({ model, input: "JSON.", max_output_tokens: 200,
        text: { format: { type: "json_object" } } });
    assert.equal(typeof JSON.parse(any.output_text), "object");
});

test("a conversation goes on from a response, and what it was given is listed", async () => {
    const first = await client.responses.create({ ...greedy, input: "My name is Anna." });
    const second = await client.responses.create({ ...greedy, input: "What is my name?",
        previous_response_id: first.id });
    const whole = await client.responses.create({ ...greedy, store: false, input: [
        { role: "user", content: "My name is Anna." },
        { role: "assistant", content: first.output_text },
        { role: "user", content: "What is my name?" }] });

    assert.equal(second.previous_response_id, first.id);
    assert.equal(second.output_text, whole.output_text);
    assert.equal(second.usage.input_tokens, whole.usage.input_tokens);
    const items = await client.responses.inputItems.list(second.id);
    assert.deepEqual(items.data.map((item) => [item.role, item.content[0].text]),
        [["user", "What is my name?"], ["assistant", first.output_text], ["user", "My name is Anna."]]);
    assert.equal(items.data[1].id, first.output[0].id);
    // The session of the conversation is the first response's.
    const { json } = await ask(daemon, "GET", `/v1/sessions/${first.id}`);
    assert.equal(json.tokens, second.usage.total_tokens);
});

test("an item is named by its id", async () => {
    const first = await client.responses.create({ ...greedy, input: "Hello!" });
    const named = await client.responses.create({ ...greedy, input: [
        { role: "user", content: "Hello!" }, { type: "item_reference", id: first.output[0].id },
        { role: "user", content: "And?" }] });
    const said = await client.responses.create({ ...greedy, previous_response_id: first.id,
        input: "And?" });

    assert.equal(named.output_text, said.output_text);
    const e = await failure(client.responses.create({ ...greedy, input: [
        { type: "item_reference", id: "msg_" + "0".repeat(34) }] }));
    assert.equal(e.status, 400);
    assert.equal(e.param, "input[0].id");
});

test("a response is found, deleted, and not stored where nobody wants it", async () => {
    const kept = await client.responses.create({ ...greedy, input: "Hello!" });
    assert.deepEqual({ ...await client.responses.retrieve(kept.id), output_text: 0 },
        { ...kept, output_text: 0 });
    await client.responses.delete(kept.id);
    for (const call of ["retrieve", "delete"]) {
        const e = await failure(client.responses[call](kept.id));
        assert.equal(e.status, 404);
        assert.equal(e.code, "response_not_found");
    }
    const e = await failure(client.responses.create({ ...greedy, input: "x",
        previous_response_id: kept.id }));
    assert.equal(e.status, 400);
    assert.equal(e.param, "previous_response_id");
    const gone = await client.responses.create({ ...greedy, input: "Hello!", store: false });
    assert.equal((await failure(client.responses.retrieve(gone.id))).status, 404);
});

test("the store is bounded, and of one key", async () => {
    const small = await startDaemon("--model-name", model, "--response-store", "8KiB",
        "--api-key-file", newFile("sk-one\nsk-two\n"));
    const [one, two] = ["sk-one", "sk-two"].map((apiKey) =>
        new OpenAI({ baseURL: `${small.url}/v1`, apiKey, maxRetries: 0 }));
    const ids = [];

    for (let i = 0; i < 12; i++)
        ids.push((await one.responses.create({ ...greedy, max_output_tokens: 1, input: `${i}` })).id);
    assert.equal((await failure(one.responses.retrieve(ids[0]))).status, 404);
    assert.equal((await one.responses.retrieve(ids[11])).id, ids[11]);
    assert.equal((await failure(two.responses.retrieve(ids[11]))).status, 404);
    assert.equal((await failure(two.responses.create({ ...greedy, input: "x",
        previous_response_id: ids[11] }))).status, 400);
    await small.stop();
});

test("truncation drops the oldest turns, and without it they are too long", async () => {
    const long = Array.from({ length: 40 }, (_, i) => [
        { role: "user", content: `Turn ${i}: ` + "the sea is blue and wide ".repeat(12) },
        { role: "assistant", content: "Yes." }]).flat();
    const input = [...long, { role: "user", content: "Hello!" }];
    const e = await failure(client.responses.create({ ...greedy, input }));

    assert.equal(e.code, "context_length_exceeded");
    assert.equal(e.param, "input");
    assert.match(e.message, /maximum context length/);
    const r = await client.responses.create({ ...greedy, input, truncation: "auto",
        instructions: "Be brief." });
    assert.equal(r.truncation, "auto");
    assert.ok(r.usage.input_tokens > 1500 && r.usage.total_tokens <= 2048, `${r.usage.input_tokens}`);
});

test("logprobs come with the text they are of, whole and streamed", async () => {
    const body = { ...greedy, input: "Hello!", include: ["message.output_text.logprobs"], top_logprobs: 2 };
    const r = await client.responses.create(body);
    const chat = await client.chat.completions.create({ model, temperature: 0, max_tokens: 12,
        messages: [{ role: "user", content: "Hello!" }], logprobs: true, top_logprobs: 2 });
    const { logprobs } = r.output[0].content[0];

    assert.deepEqual(logprobs, chat.choices[0].logprobs.content);
    assert.equal(logprobs.length, 12);
    const told = [];
    let done;
    for await (const event of await client.responses.create({ ...body, stream: true })) {
        if (event.type === "response.output_text.delta") told.push(...event.logprobs);
        if (event.type === "response.output_text.done") done = event.logprobs;
    }
    assert.deepEqual(told, logprobs);
    assert.deepEqual(done, logprobs);
    const silent = await client.responses.create({ ...greedy, input: "Hello!" });
    assert.deepEqual(silent.output[0].content[0].logprobs, []);
});

test("tools that others would run are passed over, and logged once", async () => {
    const tools = [{ type: "web_search" }, { type: "namespace", name: "x", tools: [] },
        { type: "function", name: "f", parameters: { type: "object", properties: {} } }];
    const r = await client.responses.create({ ...greedy, input: "Hello!", tools, tool_choice: "required",
        max_output_tokens: 80, parallel_tool_calls: false });

    assert.deepEqual(r.output.map((o) => [o.type, o.name]), [["function_call", "f"]]);
    await client.responses.create({ ...greedy, input: "Hello!", tools });
    assert.equal(daemon.log.split("tools[].type=web_search").length, 2);
    const alone = await post({ model, input: "x", tools: [tools[0]], tool_choice: "required" });
    assert.equal(alone.status, 400);
});

test("what is not offered is refused by name", async () => {
    const cases = [
        [{ background: true }, "background"],
        [{ conversation: "conv_1" }, "conversation"],
        [{ prompt: { id: "pmpt_1" } }, "prompt"],
        [{ top_logprobs: 21 }, "top_logprobs"],
        [{ include: [1] }, "include"],
        [{ truncation: "sometimes" }, "truncation"],
        [{ tools: [{ type: 1 }] }, "tools[0].type"],
        [{ tools: [1] }, "tools[0].type"],
        [{ tool_choice: { type: "file_search" } }, "tool_choice"],
        [{ text: "plain" }, "text"],
        [{ text: { format: { type: "json_schema", name: "x", schema: 3 } } }, "text.format.schema"],
        [{ max_output_tokens: "all" }, "max_output_tokens"],
        [{ instructions: 1 }, "instructions"],
        [{ input: undefined }, "input"],
        [{ input: 7 }, "input"],
        [{ input: [7] }, "input[0]"],
        [{ input: [{ role: "nobody", content: "x" }] }, "input[0].role"],
        [{ input: [{ content: "x" }] }, "input[0].role"],
        [{ input: [{ type: "web_search_call", id: "x" }] }, "input[0].type"],
        [{ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] },
            "input[0].content"],
        [{ input: [{ type: "item_reference" }] }, "input[0].id"],
    ];

    for (const [members, param] of cases) {
        const { status, json } = await post({ model, input: "x", ...members });
        assert.deepEqual([status, json.error.param], [400, param], JSON.stringify([members, json]));
        assert.equal(json.error.type, "invalid_request_error");
        assert.ok(json.error.message.length > 10);
    }
    const { json } = await post({ model: "nobody", input: "x" });
    assert.equal(json.error.code, "model_not_found");
});

test("a client that leaves its stream frees what it had", async () => {
    const stream = await client.responses.create({ model, input: "Tell a long story.",
        max_output_tokens: 1500, stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    stream.controller.abort();
    await until(async () => daemon.log.includes('"finish":"abort"'), 5000, "it is canceled");
});

test("the AI SDK writes, streams and asks for objects", async () => {
    const openai = createOpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none" });
    const { text, usage } = await generateText({ model: openai(model), prompt: "Hello!",
        temperature: 0, maxOutputTokens: 8 });
    assert.ok(text.length > 0);
    assert.equal(usage.outputTokens, 8);

    const streamed = streamText({ model: openai(model), prompt: "Hello!", temperature: 0,
        maxOutputTokens: 8 });
    let all = "";
    for await (const part of streamed.textStream) all += part;
    assert.equal(all, text);
    assert.equal(await streamed.finishReason, "length");

    const { output } = await generateText({ model: openai(model), prompt: "A color.",
        output: Output.object({ schema: jsonSchema({ type: "object", properties: {
            color: { type: "string", enum: ["red", "blue"] } }, required: ["color"],
        additionalProperties: false }) }) });
    assert.ok(["red", "blue"].includes(output.color));

    const again = await generateText({ model: openai(model), temperature: 0, maxOutputTokens: 8,
        messages: [{ role: "user", content: "Hello!" }, { role: "assistant", content: text },
            { role: "user", content: "And?" }] });
    assert.ok(again.text.length > 0);
});
