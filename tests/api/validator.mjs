// validator.mjs - documents judged by their schemas, formats included: what a form must hold an answer to.
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

export const ajv = new Ajv({ strict: false, validateFormats: true });
addFormats(ajv);
