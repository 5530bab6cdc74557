// questions.mjs - what tenants with secrets ask, and the answers that are right.
//
//   preamble, the same for all | My secret word is X Y. My secret word is X Y. ... | My secret word is
//   <------- a block ------->|<--------------- a block --------------->|<- open ->    the answer: X Y
//
// A model that copies says the secret, its own or that of whose block it was given. What an answer
// has to be is known to the last digit: a server with nothing else to do gives it first, each
// under a salt of its own, so that nothing is shared or found.
import assert from "node:assert/strict";

import { ask } from "../daemon.mjs";

export const ANSWER = 6; // tokens
export const COPIES = 3; // answers to one prompt, where there are several
export const BLOCK = 64; // tokens

// Pairs of them; no two tenants share a word.
const first = ("amber apple bridge butter candle castle cherry cloud copper coral cotton desert dragon " +
    "eagle ember falcon feather forest garden ginger glacier granite hammer harbor honey island ivory " +
    "jacket jungle kettle ladder lantern lemon magnet maple marble meadow mirror monkey needle ocean " +
    "olive orange orchid paper pepper piano pillow planet pocket").split(" ");
const second = ("salmon sand shadow silk silver spider spring statue storm sugar summer temple thunder " +
    "tiger timber tower tulip turtle valley velvet violet walnut water whale window winter wolf zebra " +
    "anchor arrow badger barrel basket beacon bottle bucket button cactus camel canyon carpet cavern " +
    "circus clover cobalt comet compass crystal curtain daisy").split(" ");
const topics = ["bread", "boats", "bells", "roads"];
const PREAMBLE = "The old town lies at the river. Everybody there has a secret word, and it is written in " +
    "a book that nobody else may read. When you are asked for your secret word, you say it, but only to " +
    "the one who wrote it down. The people of the town also like to talk about other things. ";
const CUE = "My secret word is";

export const TENANTS = first.length;
export const secretOf = (tenant) => `${first[tenant]} ${second[tenant]}`;
export const keyOf = (tenant) => `canary-key-${tenant}`;

const tell = (tenant, times) => `${CUE} ${secretOf(tenant)}. `.repeat(times);
const about = (topic, times) => `We spoke of ${topic} for a while, and then of ${topic} again. `.repeat(times);

// --- the two endpoints ---

export const text = (prompt) => ({ path: "/v1/completions", body: { prompt, logprobs: 5 } });
export const chat = (messages) => ({ path: "/v1/chat/completions",
    body: { messages, logprobs: true, top_logprobs: 5 } });
export const greedy = { temperature: 0 };
export const drawn = (seed) => ({ temperature: 1, seed });

// A whole answer's choice, or the part that an event has of one, in one form.
export function read(choice) {
    const { content, tokens, token_logprobs: line, top_logprobs: best } = choice.logprobs ?? {};
    const table = ({ top_logprobs: list }) => Object.fromEntries(list.map((t) => [t.token, t.logprob]));

    return { text: choice.text ?? choice.message?.content ?? choice.delta?.content ?? "",
        ids: choice.token_ids ?? [], tokens: content?.map((c) => c.token) ?? tokens ?? [],
        logprobs: content?.map((c) => c.logprob) ?? line ?? [], best: content?.map(table) ?? best ?? [] };
}

export function join(parts) {
    const all = { text: parts.map((p) => p.text).join("") };

    for (const name of ["ids", "tokens", "logprobs", "best"]) all[name] = parts.flatMap((p) => p[name]);
    return all;
}

export const promptIds = (json) => json.prompt_token_ids ?? json.choices[0].prompt_token_ids;

// Its beginnings of one block, two, and so on: what a hit is counted by.
export function prefixes(ids) {
    const list = [];

    for (let n = BLOCK; n <= ids.length; n += BLOCK) list.push(ids.slice(0, n).join());
    return list;
}

// --- the answers that are right ---

export const always = { max_tokens: ANSWER, ignore_eos: true, return_token_ids: true };
let salts = 0;

async function refer(reference, tenant, { path, body }, more) {
    const answer = await ask(reference, "POST", path,
        { ...always, ...body, cache_salt: `alone-${salts++}`, ...more },
        { authorization: `Bearer ${keyOf(tenant)}` });

    assert.equal(answer.status, 200, answer.text);
    const right = read(answer.json.choices[0]), ids = promptIds(answer.json);
    return { ...right, prompt: ids.join(), prefixes: prefixes(ids), sealed: prefixes([...ids, ...right.ids]) };
}

// One prompt. Of a tenant's first, answers that are drawn too, each by itself: a fork must not
// differ from that.
async function makeQuestion(reference, tenant, prompt, several) {
    const q = { tenant, asked: text(prompt), right: await refer(reference, tenant, text(prompt), greedy) };

    for (let i = 0; several && i < COPIES; i++)
        (q.drawn ??= []).push(await refer(reference, tenant, text(prompt), drawn(1000 * tenant + i)));
    return q;
}

// Two turns. The ids of the second's prompt are those of the first's answer while the session
// lasts, and those that its text makes otherwise. Both are right, and have an answer here.
async function makeDialogue(reference, tenant, number) {
    const opening = [{ role: "user", content: PREAMBLE + tell(tenant, 7) + about(topics[number], 1) }];
    const session = { cache_salt: `alone-${salts++}`, session_id: "alone", ...greedy };
    const right = await refer(reference, tenant, chat(opening), session);
    const next = [...opening, { role: "assistant", content: right.text }, { role: "user", content: CUE }];
    const turns = [await refer(reference, tenant, chat(next), session),
        await refer(reference, tenant, chat(next), greedy)];

    return { tenant, name: `dialogue-${number}`, asked: chat(opening), right, next: chat(next), turns };
}

// Everything that a tenant may ask: `own` prompts with its secret, one that all tenants send, and
// two dialogues.
export async function makeTenant(reference, tenant, own) {
    const prompts = Array.from({ length: own }, (_, i) =>
        PREAMBLE + tell(tenant, 8) + about(topics[i % topics.length], i % 3) + CUE);
    const all = { tenant, questions: [], dialogues: [] };

    for (const [i, prompt] of [...prompts, PREAMBLE + about(topics[0], 2) + CUE].entries())
        all.questions.push(await makeQuestion(reference, tenant, prompt, i === 0));
    for (let i = 0; i < 2; i++) all.dialogues.push(await makeDialogue(reference, tenant, i));
    return all;
}
