// Reads an AsyncAPI document on stdin with AsyncAPI's own parser; prints what that says as JSON.
// node asyncapi.mjs FOLDER: where node_modules is.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2]) + "/");
const { Parser } = require("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const said = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path }));
const channels = document ? document.channels().all().map((one) => one.address()) : [];
console.log(JSON.stringify({ said, channels }));
