// dialect_tools.test.mjs - tools in every dialect, by the client of each: called, streamed, gone on from.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateText, jsonSchema, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

import { startDaemon } from "./daemon.mjs";

const model = "seedling";
const parameters = { type: "object", properties: { city: { enum: ["Paris", "Rome"] } },
    required: ["city"], additionalProperties: false };
const isCall = (input) => ["Paris", "Rome"].includes(input.city) && Object.keys(input).length === 1;
const question = "How is the weather in Paris?";

let daemon;
before(async () => {
    daemon = await startDaemon("--model-name", model);
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("/v1/responses calls a function, streams the call, and goes on with its output", async () => {
    const client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
    const tools = [{ type: "function", name: "get_weather", description: "of a city", parameters,
        strict: true }];
    const body = { model, input: question, tools, tool_choice: "required", temperature: 0,
        parallel_tool_calls: false, max_output_tokens: 200 };
    const whole = await client.responses.create(body);
    const call = whole.output.find((item) => item.type === "function_call");

    assert.equal(whole.status, "completed");
    assert.equal(call.name, "get_weather");
    assert.match(call.call_id, /^call_/);
    assert.ok(isCall(JSON.parse(call.arguments)));
    assert.deepEqual(whole.tools, tools);
    assert.equal(whole.tool_choice, "required");

    const events = [];
    for await (const event of await client.responses.create({ ...body, stream: true }))
        events.push(event);
    const of = (type) => events.filter((e) => e.type === `response.${type}`);
    assert.equal(of("function_call_arguments.delta").map((e) => e.delta).join(""), call.arguments);
    const [done] = of("function_call_arguments.done");
    assert.deepEqual([done.name, done.arguments], ["get_weather", call.arguments]);
    assert.ok(!events.some((e) => /content_part/.test(e.type) && e.item_id === done.item_id));
    assert.equal(of("completed")[0].response.output.at(-1).arguments, call.arguments);

    const named = await client.responses.create({ ...body,
        tool_choice: { type: "function", name: "get_weather" } });
    assert.ok(isCall(JSON.parse(named.output.at(-1).arguments)));
    const next = await client.responses.create({ model, tools, tool_choice: "none", temperature: 0,
        max_output_tokens: 8, previous_response_id: whole.id,
        input: [{ type: "function_call_output", call_id: call.call_id, output: "18 degrees" }] });
    const same = await client.responses.create({ model, tools, tool_choice: "none", temperature: 0,
        max_output_tokens: 8, store: false, input: [{ role: "user", content: question }, ...whole.output,
            { type: "function_call_output", call_id: call.call_id,
                output: [{ type: "input_text", text: "18 degrees" }] }] });
    assert.equal(next.output_text, same.output_text);
    assert.equal(next.usage.input_tokens, same.usage.input_tokens);
});

test("/v1/messages uses a tool, streams its input, and takes a result", async () => {
    const client = new Anthropic({ baseURL: daemon.url, apiKey: "none", maxRetries: 0 });
    const tools = [{ name: "get_weather", description: "of a city", input_schema: parameters }];
    const messages = [{ role: "user", content: question }];
    const body = { model, max_tokens: 200, temperature: 0, messages, tools,
        tool_choice: { type: "any", disable_parallel_tool_use: true } };
    const whole = await client.messages.create(body);
    const use = whole.content.find((block) => block.type === "tool_use");

    assert.equal(whole.stop_reason, "tool_use");
    assert.equal(use.name, "get_weather");
    assert.ok(isCall(use.input));
    const streamed = await client.messages.stream(body).finalMessage();
    assert.deepEqual(streamed.content.map(({ input, text }) => [input, text]),
        whole.content.map(({ input, text }) => [input, text]));
    assert.equal(streamed.stop_reason, "tool_use");
    const named = await client.messages.create({ ...body,
        tool_choice: { type: "tool", name: "get_weather" } });
    assert.ok(isCall(named.content.at(-1).input));

    const history = [...messages, { role: "assistant", content: whole.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: use.id,
            content: [{ type: "text", text: "18 degrees" }] }, { type: "text", text: "So?" }] }];
    const next = await client.messages.create({ model, max_tokens: 8, messages: history, tools });
    assert.ok(next.usage.input_tokens + next.usage.cache_read_input_tokens >
        whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
});

test("/api/chat says a call whole, streamed or not", async () => {
    const client = new Ollama({ host: daemon.url });
    const tools = [{ type: "function", function: { name: "get_weather", description: "of a city",
        parameters } }];
    const body = { model, messages: [{ role: "user", content: question }], tools,
        tool_choice: "required", parallel_tool_calls: false,
        options: { temperature: 0, num_predict: 200 } };
    const whole = await client.chat(body);
    const [{ function: call }] = whole.message.tool_calls;

    assert.equal(whole.done_reason, "stop");
    assert.equal(call.name, "get_weather");
    assert.ok(isCall(call.arguments));
    const said = [];
    for await (const line of await client.chat({ ...body, stream: true }))
        said.push(...(line.message.tool_calls ?? []));
    assert.deepEqual(said, whole.message.tool_calls);
    const next = await client.chat({ model, tools, options: { num_predict: 8 }, messages: [
        ...body.messages, whole.message,
        { role: "tool", tool_name: "get_weather", content: "18 degrees" }] });
    assert.ok(next.prompt_eval_count > whole.prompt_eval_count);
});

test("the AI SDK runs a tool", async () => {
    const openai = createOpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none" });
    const seen = [];
    const { toolCalls } = await generateText({ model: openai(model), prompt: question,
        temperature: 0, maxOutputTokens: 200, toolChoice: "required",
        providerOptions: { openai: { parallelToolCalls: false } },
        tools: { get_weather: tool({ description: "of a city", inputSchema: jsonSchema(parameters),
            execute: async (input) => (seen.push(input), "18 degrees") }) } });

    assert.ok(toolCalls.length >= 1);
    assert.ok(seen.length >= 1 && seen.every(isCall));
});
