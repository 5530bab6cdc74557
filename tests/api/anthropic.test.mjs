// anthropic.test.mjs - /v1/messages by Anthropic's own client.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { ask, chat, failure, newFile, startDaemon } from "./daemon.mjs";

let daemon;
let client;
const model = "seedling";
const hello = [{ role: "user", content: "Hello! Who are you?" }];
const greedy = { model, temperature: 0, max_tokens: 12 };

before(async () => {
    daemon = await startDaemon("--model-name", model);
    client = new Anthropic({ baseURL: daemon.url, apiKey: "none", maxRetries: 0 });
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const post = (body, headers) => ask(daemon, "POST", "/v1/messages", body, headers);

test("a message has all that the client's types ask for, and says what a chat says", async () => {
    const m = await client.messages.create({ ...greedy, system: "Be brief.", messages: hello });
    const { json } = await chat(daemon, { ...greedy,
        messages: [{ role: "system", content: "Be brief." }, ...hello] });

    assert.match(m.id, /^msg_[0-9a-f]{32}$/);
    assert.deepEqual([m.type, m.role, m.model, m.stop_reason, m.stop_sequence],
        ["message", "assistant", model, "max_tokens", null]);
    assert.deepEqual(m.content, [{ type: "text", text: json.choices[0].message.content }]);
    assert.equal(m.usage.input_tokens + m.usage.cache_read_input_tokens, json.usage.prompt_tokens);
    assert.equal(m.usage.output_tokens, 12);
    assert.equal(m.usage.cache_creation_input_tokens, 0);
});

test("blocks of text are one text, in a system prompt too", async () => {
    const whole = await client.messages.create({ ...greedy, system: "Be brief.", messages: hello });
    const parts = await client.messages.create({ ...greedy,
        system: [{ type: "text", text: "Be " }, { type: "text", text: "brief.",
            cache_control: { type: "ephemeral" } }],
        messages: [{ role: "user", content: [{ type: "text", text: "Hello! " },
            { type: "text", text: "Who are you?", cache_control: { type: "ephemeral" } }] }] });

    assert.deepEqual(parts.content, whole.content);
});

test("a stream's events come in order and equal the whole", async () => {
    const body = { ...greedy, messages: hello };
    const whole = await client.messages.create(body);
    const events = [];

    for await (const event of await client.messages.create({ ...body, stream: true }))
        events.push(event);
    const types = events.map((e) => e.type);
    const deltas = types.filter((type) => type === "content_block_delta").length;
    assert.deepEqual(types, ["message_start", "content_block_start",
        ...Array(deltas).fill("content_block_delta"), "content_block_stop", "message_delta",
        "message_stop"]);
    assert.equal(events[0].message.usage.output_tokens, 0);
    assert.equal(events.filter((e) => e.delta?.text).map((e) => e.delta.text).join(""),
        whole.content[0].text);
    assert.deepEqual(events.at(-2).delta, { stop_reason: "max_tokens", stop_sequence: null });
    const { input_tokens: read, cache_read_input_tokens: found, output_tokens: made } =
        events.at(-2).usage;
    assert.deepEqual([read + found, made], [whole.usage.input_tokens +
        whole.usage.cache_read_input_tokens, whole.usage.output_tokens]);
    const final = await client.messages.stream(body).finalMessage();
    assert.deepEqual(final.content, whole.content);
    assert.equal(final.usage.output_tokens, 12);
});

test("what the cache had is told apart from what was read", async () => {
    const messages = [{ role: "user", content: "Of the sea and its ships. ".repeat(60) }];
    const first = await client.messages.create({ ...greedy, messages });
    const second = await client.messages.create({ ...greedy, messages });
    const stream = [];

    assert.equal(first.usage.cache_read_input_tokens, 0);
    assert.ok(second.usage.cache_read_input_tokens >= 128);
    assert.equal(second.usage.input_tokens + second.usage.cache_read_input_tokens,
        first.usage.input_tokens);
    for await (const event of await client.messages.create({ ...greedy, messages, stream: true }))
        stream.push(event);
    assert.equal(stream[0].message.usage.cache_read_input_tokens,
        second.usage.cache_read_input_tokens);
});

test("stop_sequences end an answer, and are told", async () => {
    const whole = await client.messages.create({ ...greedy, messages: hello });
    const stop = " " + whole.content[0].text.trim().split(" ")[2];
    const m = await client.messages.create({ ...greedy, messages: hello,
        stop_sequences: ["never said", stop] });

    assert.deepEqual([m.stop_reason, m.stop_sequence], ["stop_sequence", stop]);
    assert.ok(whole.content[0].text.startsWith(m.content[0].text));
    assert.ok(!m.content[0].text.includes(stop));
});

test("an assistant's last message is gone on with", async () => {
    const whole = await client.messages.create({ ...greedy, messages: hello });
    const words = whole.content[0].text.split(" ");
    const begun = words.slice(0, 2).join(" ");
    const m = await client.messages.create({ ...greedy,
        messages: [...hello, { role: "assistant", content: begun }] });

    assert.ok(m.content[0].text.startsWith(" " + words[2]), m.content[0].text);
});

test("tokens are counted as they are read", async () => {
    const { input_tokens } = await client.messages.countTokens({ model, system: "Be brief.",
        messages: hello });
    const m = await client.messages.create({ ...greedy, system: "Be brief.", messages: hello });

    assert.equal(input_tokens, m.usage.input_tokens + m.usage.cache_read_input_tokens);
});

test("an answer is held to a schema", async () => {
    const m = await client.messages.create({ model, max_tokens: 100, messages: hello,
        output_config: { format: { type: "json_schema", schema: { type: "object",
            properties: { color: { enum: ["red", "blue"] } }, required: ["color"],
            additionalProperties: false } } } });

    assert.ok(["red", "blue"].includes(JSON.parse(m.content[0].text).color));
    assert.equal(m.stop_reason, "end_turn");
});

test("errors have the form that its clients read", async () => {
    const cases = [
        [{ max_tokens: undefined }, 400, "invalid_request_error", /max_tokens/],
        [{ max_tokens: 0 }, 400, "invalid_request_error", /max_tokens/],
        [{ messages: [] }, 400, "invalid_request_error", /messages/],
        [{ messages: undefined }, 400, "invalid_request_error", /messages/],
        [{ messages: [{ role: "nobody", content: "x" }] }, 400, "invalid_request_error",
            /messages\.0\.role/],
        [{ messages: [{ role: "user", content: 3 }] }, 400, "invalid_request_error",
            /messages\.0\.content/],
        [{ messages: [{ role: "user", content: [{ type: "image", source: {} }] }] }, 400,
            "invalid_request_error", /messages\.0\.content\.0.*image/],
        [{ messages: [{ role: "user", content: [{ type: "tool_use", id: "x", name: "y", input: {} }] }] },
            400, "invalid_request_error", /tool_use/],
        [{ system: 3 }, 400, "invalid_request_error", /system/],
        [{ tools: [{ type: "bash_20250124", name: "bash" }] }, 400, "invalid_request_error",
            /tools\.0.*bash_20250124/],
        [{ tool_choice: { type: "some" } }, 400, "invalid_request_error", /tool_choice/],
        [{ thinking: { type: "hard" } }, 400, "invalid_request_error", /thinking/],
        [{ mcp_servers: [{}] }, 400, "invalid_request_error", /mcp_servers/],
        [{ stop_sequences: 7 }, 400, "invalid_request_error", /stop_sequences/],
        [{ temperature: 9 }, 400, "invalid_request_error", /temperature/],
        [{ model: "claude" }, 404, "not_found_error", /claude/],
        [{ messages: [{ role: "user", content: "a b c ".repeat(3000) }] }, 400,
            "invalid_request_error", /maximum context length/],
    ];

    for (const [members, status, type, message] of cases) {
        const said = await post({ ...greedy, messages: hello, ...members });
        assert.equal(said.status, status, JSON.stringify([members, said.json]));
        assert.equal(said.json.type, "error");
        assert.equal(said.json.error.type, type);
        assert.match(said.json.error.message, message);
    }
    const e = await failure(client.messages.create({ ...greedy, model: "claude", messages: hello }));
    assert.ok(e instanceof Anthropic.NotFoundError);
    assert.equal((await ask(daemon, "POST", "/v1/messages", "{")).json.error.type,
        "invalid_request_error");
    assert.equal((await ask(daemon, "GET", "/v1/messages")).json.type, "error");
});

test("a key is asked for in its header, and refused in its form", async () => {
    const closed = await startDaemon("--model-name", model, "--api-key-file", newFile("sk-one\n"));
    const [good, bad] = ["sk-one", "sk-two"].map((apiKey) =>
        new Anthropic({ baseURL: closed.url, apiKey, maxRetries: 0 }));

    assert.equal((await good.messages.create({ ...greedy, messages: hello })).role, "assistant");
    const e = await failure(bad.messages.create({ ...greedy, messages: hello }));
    assert.ok(e instanceof Anthropic.AuthenticationError);
    assert.equal(e.error.error.type, "authentication_error");
    await closed.stop();
});
