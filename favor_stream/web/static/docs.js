// The interface over HTTP as a page, made from its own description.

import { at, made } from "/call.js";

const { paths, components } = await (await fetch("/openapi.json")).json();

function callOf(path, method, told) {
  const section = made("section");
  section.append(made("h2", "", `${method.toUpperCase()} ${path}`), made("p", "", told.description ?? told.summary));
  const fields = [...(told.parameters ?? []).map((each) => [each.name, each.schema, each.description]), ...bodyOf(told)];
  if (!fields.length) return section;
  const list = made("dl", "pairs");
  list.append(...fields.map(([name, schema, text]) => pairOf(name, [kindOf(schema), text].filter(Boolean).join("; "))));
  section.append(list);
  return section;
}

function bodyOf(told) {
  const schema = told.requestBody?.content["application/json"]?.schema;
  if (!schema) return [];
  const { properties = {}, required = [] } = schema.$ref ? named(schema.$ref) : schema;
  return Object.entries(properties).map(([name, each]) => [name, each, required.includes(name) ? "required" : each.description]);
}

const named = (reference) => components.schemas[reference.split("/").at(-1)];

function kindOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  const kinds = schema.anyOf ?? schema.oneOf;
  if (kinds) return kinds.map(kindOf).join(" or ");
  const known = schema.default === undefined || schema.default === "" ? "" : ` (${JSON.stringify(schema.default)})`;
  return (schema.enum?.join(" | ") ?? schema.const ?? schema.type ?? "anything") + known;
}

function pairOf(name, text) {
  const pair = made("div");
  pair.append(made("dt", "", name), made("dd", "", text));
  return pair;
}

for (const [path, methods] of Object.entries(paths)) {
  for (const [method, told] of Object.entries(methods)) at("calls").append(callOf(path, method, told));
}
