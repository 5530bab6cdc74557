// compatible.test.mjs - libraries that speak to any OpenAI-compatible server: the AI SDK's provider for
// such, LangChain, Instructor.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Instructor from "@instructor-ai/instructor";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";
import { z as z3 } from "zod/v3";

import { startDaemon } from "./daemon.mjs";

const model = "seedling";
const question = "How is the weather in Paris?";
const city = { type: "object", properties: { city: { enum: ["Paris", "Rome"] } }, required: ["city"],
    additionalProperties: false };
const isCity = (x) => ["Paris", "Rome"].includes(x.city) && Object.keys(x).length === 1;

let daemon;
let baseURL;
before(async () => {
    daemon = await startDaemon("--model-name", model);
    baseURL = `${daemon.url}/v1`;
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

test("the AI SDK's compatible provider: text, streams, tools, objects", async () => {
    const seedling = createOpenAICompatible({ name: "xquantd", baseURL, includeUsage: true,
        supportsStructuredOutputs: true })(model);
    const common = { model: seedling, temperature: 0, maxRetries: 0 };
    const whole = await generateText({ ...common, prompt: "Hello!", maxOutputTokens: 12 });
    const streamed = streamText({ ...common, prompt: "Hello!", maxOutputTokens: 12 });
    let text = "";

    for await (const part of streamed.textStream) text += part;
    assert.ok(whole.text.length > 0);
    assert.equal(text, whole.text);
    assert.equal((await streamed.usage).outputTokens, 12);
    assert.equal(whole.usage.outputTokens, 12);

    const seen = [];
    const called = await generateText({ ...common, prompt: question, maxOutputTokens: 60,
        toolChoice: "required", stopWhen: stepCountIs(1),
        providerOptions: { xquantd: { parallel_tool_calls: false } },
        tools: { get_weather: tool({ description: "of a city", inputSchema: jsonSchema(city),
            execute: async (input) => (seen.push(input), "18 degrees") }) } });
    assert.ok(called.toolCalls.length >= 1 && called.toolCalls.every((c) => isCity(c.input)));
    assert.equal(seen.length, called.toolCalls.length);
    assert.equal(called.toolResults[0].output, "18 degrees");

    const { output } = await generateText({ ...common, prompt: question, maxOutputTokens: 60,
        output: Output.object({ schema: jsonSchema(city) }) });
    assert.ok(isCity(output));
});

test("LangChain: invoke, stream, bindTools, withStructuredOutput", async () => {
    const chat = new ChatOpenAI({ model, apiKey: "none", temperature: 0, maxTokens: 60, maxRetries: 0,
        configuration: { baseURL } });
    const whole = await chat.invoke("Hello!");
    let text = "";

    for await (const chunk of await chat.stream("Hello!")) text += chunk.content;
    assert.equal(text, whole.content);
    assert.ok(whole.usage_metadata.total_tokens > 0);

    const bound = chat.bindTools([{ type: "function",
        function: { name: "get_weather", description: "of a city", parameters: city } }],
    { tool_choice: "get_weather" });
    const { tool_calls: [call] } = await bound.invoke(question);
    assert.equal(call.name, "get_weather");
    assert.ok(isCity(call.args) && /^call_/.test(call.id));

    const schema = z.object({ city: z.enum(["Paris", "Rome"]) });
    assert.ok(isCity(await chat.withStructuredOutput(schema, { name: "place" }).invoke(question)));
    for (const method of ["jsonSchema", "functionCalling"])
        assert.ok(isCity(await chat.withStructuredOutput(schema, { name: "place", method })
            .invoke(question)), method);
});

test("Instructor: a model of zod, by a tool and by a schema", async () => {
    const schema = z3.object({ city: z3.enum(["Paris", "Rome"]) });
    const openai = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });

    for (const mode of ["TOOLS", "JSON_SCHEMA"]) {
        const client = Instructor({ client: openai, mode });
        const place = await client.chat.completions.create({ model, temperature: 0, max_tokens: 60,
            messages: [{ role: "user", content: question }],
            response_model: { schema, name: "Place" }, max_retries: 0 });
        assert.ok(["Paris", "Rome"].includes(place.city), mode);
    }
});
