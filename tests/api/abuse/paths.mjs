// paths.mjs - every route asked every way, and paths that are none.
import { closing, get, GOOD, H, J, request, whole } from "./say.mjs";

const ask = (method, path, body) => request(`${method} ${path} HTTP/1.1`,
    body === undefined ? H : `${J}Content-Length: ${body.length}\r\n`, body);

// What each route takes besides OPTIONS, and what GET of it answers here.
const routes = [
    ["/v1/chat/completions", "POST"], ["/v1/completions", "POST"],
    ["/chat/completions", "POST"], ["/completions", "POST"], ["/models", "GET, HEAD", 200],
    ["/tokenize", "POST"], ["/detokenize", "POST"], ["/props", "GET, HEAD", 200],
    ["/api/chat", "POST"], ["/api/generate", "POST"], ["/api/show", "POST"],
    ["/api/tags", "GET, HEAD", 200], ["/api/ps", "GET, HEAD", 200],
    ["/api/version", "GET, HEAD", 200],
    ["/v1/messages", "POST"], ["/v1/messages/count_tokens", "POST"], ["/v1/responses", "POST"], ["/responses", "POST"],
    ["/v1/responses/nobody", "GET, HEAD, DELETE", 404],
    ["/v1/responses/nobody/input_items", "GET, HEAD", 404],
    ["/v1/models", "GET, HEAD", 200], ["/v1/models/nobody", "GET, HEAD", 404],
    ["/v1/sessions", "GET, HEAD", 200], ["/v1/sessions/nobody", "GET, HEAD, DELETE", 404],
    ["/v1/sessions/nobody/pin", "POST"], ["/v1/sessions/nobody/unpin", "POST"],
    ["/v1/sessions/nobody/fork", "POST"],
    ["/health", "GET, HEAD", 200], ["/livez", "GET, HEAD", 200], ["/readyz", "GET, HEAD", 200],
    ["/metrics", "GET, HEAD", 200], ["/version", "GET, HEAD", 200],
];
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"];

const takes = (allow) => (answer) => {
    const said = answer.headers.get("allow").split(", ");
    return allow.split(", ").every((method) => said.includes(method)) && said.includes("OPTIONS");
};
// A path of a session's act is a session's name too, for who asks with GET.
const refused = ([path, allow]) => methods
    .filter((method) => !allow.includes(method))
    .filter((method) => !(/nobody\//.test(path) && ["GET", "HEAD", "DELETE"].includes(method)))
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
        "/v1/embeddings", "/favicon.ico", "/V1/MODELS", "/livez/", "/v1/completions/"]
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
