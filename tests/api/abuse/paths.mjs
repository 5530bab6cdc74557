// paths.mjs - every route asked every way, and paths that are none.
import assert from "node:assert";
import { readFileSync } from "node:fs";

import { closing, get, GOOD, H, J, request, whole } from "./say.mjs";

const ask = (method, path, body) => request(`${method} ${path} HTTP/1.1`,
    body === undefined ? H : `${J}Content-Length: ${body.length}\r\n`, body);

// Routes as the server's own table has them: [path, what it takes besides OPTIONS, what GET of it answers here,
// what else takes such a path]. {id} stands for any characters, so a path of a session's act is a session's name too,
// for who asks with GET.
const rows = [...readFileSync(new URL("../../../server/api/routes.def", import.meta.url), "utf8")
    .matchAll(/^(?:ROUTE|ALIAS)\("(\w+)", *"([^"]+)"/gm)]
    .map(([, method, path]) => ({ path, takes: method === "GET" ? ["GET", "HEAD"] : [method] }));
const covers = (pattern, path) => RegExp(`^${pattern.split("{id}").join(".+")}$`).test(path);
const routes = [...new Set(rows.map((row) => row.path))].map((pattern) => {
    const path = pattern.replace("{id}", "nobody"), of = (some) => rows.filter(some).flatMap((row) => row.takes);
    const allow = of((row) => row.path === pattern);

    return [path, allow.join(", "), allow.includes("GET") && (path === pattern ? 200 : 404),
        of((row) => covers(row.path, path))];
});
assert.ok(routes.length > 30);
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"];

const takes = (allow) => (answer) => {
    const said = answer.headers.get("allow").split(", ");
    return allow.split(", ").every((method) => said.includes(method)) && said.includes("OPTIONS");
};
const refused = ([path, allow, , taken]) => methods
    .filter((method) => !taken.includes(method))
    .map((method) => [`${method} ${path}`, ask(method, path), 405, takes(allow)]);

export default [
    ...routes.flatMap(refused),
    ...routes.map(([path, allow]) => [`OPTIONS ${path}`, ask("OPTIONS", path), 204, takes(allow)]),
    ...routes.filter((route) => route[2]).flatMap(([path, , status]) => [
        [`GET ${path}`, ask("GET", path), status],
        [`HEAD ${path}`, ask("HEAD", path), status],
        [`GET ${path} with a body`, ask("GET", path, "abc"), status],
    ]),
    ...["/", "/v1", "/v1/", "/v1/v1/models", "/v1/tokenize", "/v1/props", "/models/nobody", "/v2/models",
        "/v1/embedding", "/favicon.ico", "/V1/MODELS", "/livez/", "/v1/completions/"]
        .map((path) => [`GET ${path}`, get(path), 404, /unknown_url.*|base URL/]),
    ["POST /v2/chat/completions", ask("POST", "/v2/chat/completions", GOOD), 404, /base URL.*\/v1/],
    ["POST /v1/v1/completions", ask("POST", "/v1/v1/completions", GOOD), 404, /base URL.*\/v1/],
    ["OPTIONS of an unknown path", ask("OPTIONS", "/x"), 404],
    ["HEAD of an unknown path", ask("HEAD", "/x"), 404],
    ["DELETE of a session nobody has", ask("DELETE", "/v1/sessions/x"), 404],
    ["fork of a session nobody has", ask("POST", "/v1/sessions/x/fork", "{"), 404],
    ["a model's name of 30,000 letters", get(`/v1/models/${"m".repeat(30000)}`), 404],
    ["a session's name of 30,000 letters", get(`/v1/sessions/${"s".repeat(30000)}`), 404],
    ["POST with a query", whole(GOOD).replace("/completions", "/completions?api-version=1"), 200],
    ["PUT of a body too large", ask("PUT", "/livez").replace(H, H + "Content-Length: 99999999\r\n"),
        closing(413)],
];
