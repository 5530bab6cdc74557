// forms.mjs - random schemas at temperature 1.5, each answer judged by ajv: forms.mjs [HOW_MANY]
//
// 1,000 of them, 8 at a time, on the embedded model; tests/api/forms.test.mjs has a sample. Prints
// what was wrong, tokens per second, and how long an answer is.
import Ajv from "../api/node_modules/ajv/dist/2020.js";
import addFormats from "../api/node_modules/ajv-formats/dist/index.js";
import { chat, startDaemon } from "../api/daemon.mjs";
import { randomSchema } from "../api/random_schema.mjs";

const most = Number(process.argv[2] ?? 1000);
const ajv = new Ajv({ strict: false, validateFormats: true });
(addFormats.default ?? addFormats)(ajv);
const daemon = await startDaemon();
let seed = 1, wrong = 0, tokens = 0, stopped = 0;

async function one(schema, number) {
    const { status, json, text } = await chat(daemon, { messages: [{ role: "user", content: "Write some JSON." }],
        seed: number, temperature: 1.5, max_tokens: 500,
        response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } } });
    const valid = ajv.compile(schema);

    if (status !== 200) throw new Error(text);
    tokens += json.usage.completion_tokens;
    stopped += json.choices[0].finish_reason === "stop";
    if (!valid(JSON.parse(json.choices[0].message.content))) throw new Error(ajv.errorsText(valid.errors));
}

async function client() {
    while (seed <= most) {
        const number = seed++, schema = randomSchema(number);

        await one(schema, number).catch((e) => {
            wrong++;
            console.log(`seed ${number}: ${e.message}\n${JSON.stringify(schema)}`);
        });
    }
}

const start = performance.now();
await Promise.all(Array.from({ length: 8 }, client));
const seconds = (performance.now() - start) / 1000;
await daemon.stop();
console.log(`${most} schemas, ${wrong} wrong, ${stopped} ended with stop; ${tokens} tokens, ` +
    `${(tokens / seconds).toFixed(0)} a second`);
process.exit(wrong ? 1 : 0);
