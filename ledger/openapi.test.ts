/** The document at /openapi.json: complete, self-contained, and its examples are valid. */
import { after, before, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

interface Operation {
  summary?: string;
  security?: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: { properties?: object }; example?: unknown }> };
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}

interface Document {
  openapi: string;
  components: { securitySchemes: Record<string, { type: string; scheme: string }> };
  paths: Record<string, Record<string, Operation>>;
}

let ledger: TestLedger;
let document: Document;
let operations: { name: string; path: string; method: string; operation: Operation }[] = [];
before(async () => {
  ledger = await startTestLedger();
  document = (await ledger.request('GET', '/openapi.json')).body as Document;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method} ${path}`,
      path,
      method,
      operation,
    })),
  );
});
after(() => ledger.close());

test('it is OpenAPI 3.1 with the bearer scheme and refers to nothing outside itself', () => {
  assert.is(document.openapi, '3.1.0');
  const schemes = Object.entries(document.components.securitySchemes);
  assert.equal(
    schemes.map(([, { type, scheme }]) => [type, scheme]),
    [['http', 'bearer']],
  );
  assert.not.match(JSON.stringify(document), '"$ref"');
  assert.ok(operations.length > 25);
});

test('every operation has a summary, its security, its path parameters and documented replies', () => {
  for (const { name, path, operation } of operations) {
    assert.ok(operation.summary, name);
    assert.ok(Array.isArray(operation.security), `${name} security`);
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
    const declared = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name);
    assert.equal(declared, named, name);
    const statuses = Object.keys(operation.responses);
    assert.ok(statuses.some((status) => /^2\d\d$/.test(status)) && statuses.includes('4XX'), `${name} ${statuses}`);
    assert.ok(operation.responses['4XX']?.content?.['application/problem+json'], `${name} problems`);
  }
});

test('operations that take an Idempotency-Key say that it is required', () => {
  const keyed = operations
    .filter(({ operation }) => operation.parameters?.some((one) => one.name === 'idempotency-key' && one.required))
    .map(({ name }) => name);
  assert.equal(keyed.toSorted(), [
    'post /v1/debits',
    'post /v1/fulfilments',
    'post /v1/grants/{grant}/revoke',
    'post /v1/holds',
    'post /v1/holds/{hold}/capture',
    'post /v1/holds/{hold}/extend',
    'post /v1/holds/{hold}/void',
    'post /v1/orders/{shop}/{order}/settle',
    'post /v1/wallets/{wallet}/close',
    'post /v1/wallets/{wallet}/grants',
  ]);
});

test('every schema is valid JSON Schema 2020-12', () => {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  for (const { name, operation } of operations) {
    const bodies = Object.values(operation.requestBody?.content ?? {}).map(({ schema }) => schema);
    const replies = Object.values(operation.responses).flatMap(({ content }) =>
      Object.values(content ?? {}).map(({ schema }) => schema),
    );
    const parameters = (operation.parameters ?? []).map(({ schema }) => schema);
    for (const schema of [...bodies, ...replies, ...parameters]) {
      assert.is(ajv.validateSchema(schema), true, `${name}: ${ajv.errorsText()}`);
      ajv.compile(schema);
    }
  }
});

test('every request body that has a field shows an example that is valid', () => {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  let shown = 0;
  for (const { name, operation } of operations) {
    const { schema, example } = operation.requestBody?.content['application/json'] ?? {};
    if (!schema || Object.keys(schema.properties ?? {}).length === 0) continue;
    assert.ok(example, `${name} has no example`);
    assert.is(ajv.validate(schema, example), true, `${name}: ${ajv.errorsText()}`);
    shown++;
  }
  assert.ok(shown >= 14);
});
