type Schema = Record<string, unknown>;

const text: Schema = { type: 'string' };
const money: Schema = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
const positive: Schema = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER };
const open: Schema = { type: 'object' };
const word = (...values: string[]): Schema => ({ enum: values });
const list = (items: Schema, more: Schema = {}): Schema => ({ type: 'array', items, ...more });

/** A closed object; `optional` names the keys that may be absent. */
function shape(properties: Record<string, Schema>, ...optional: string[]): Schema {
  const required = Object.keys(properties).filter((key) => !optional.includes(key));
  return { type: 'object', properties, required, additionalProperties: false };
}

const digest: Schema = { type: 'string', pattern: '^sha256:[0-9a-f]{64}$' };
const limits = shape({
  requestsPerMinute: positive,
  concurrentRuns: positive,
  runSeconds: positive,
  inputBytes: positive,
});

const secret = shape(
  {
    name: text,
    capability: text,
    source: word('Buyer', 'Generated', 'Platform'),
    description: text,
    generator: shape({ length: positive, alphabet: word('Alphanumeric', 'Hex', 'Base64Url') }),
    rotation: shape({ periodDays: positive, overlapSeconds: money }, 'periodDays'),
  },
  'description',
  'generator',
);

const connector = shape({
  name: text,
  capability: text,
  protocol: word('MCP', 'HTTP'),
  url: text,
  auth: shape({ kind: word('None', 'Bearer', 'Header', 'Basic'), header: text, secret: text }, 'header', 'secret'),
  tools: list(shape({ name: text, schemaSha256: text, dimension: text }, 'dimension')),
  egressHosts: list(text),
});

const step = shape({
  name: text,
  capability: text,
  uses: word('Secrets', 'Dataset', 'Manifests', 'Probe'),
  with: list(shape({ name: text, value: text })),
  dependsOn: list(text),
});

const dimension = shape({
  name: text,
  unit: text,
  source: word('Run', 'RuntimeSecond', 'InputToken', 'OutputToken', 'ToolCall', 'Retrieval', 'StoredByteHour'),
  priceMicrocredits: money,
  perUnits: positive,
  reserveUnits: money,
});

const plan = shape(
  {
    name: text,
    includedMicrocredits: money,
    period: word('None', 'Month', 'Year'),
    trial: shape({ microcredits: money, days: positive }),
    limits,
  },
  'trial',
);

/** JSON Schema of the `Contract` type in `document.ts`: the two change together. */
export const CONTRACT_SCHEMA: Schema = shape(
  {
    schema: { const: 'gsv.contract/v1' },
    offering: text,
    version: text,
    artifact: shape({
      sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
      sizeBytes: money,
      format: word('LangflowJson'),
    }),
    capabilities: list(shape({ name: text, version: text, digest, spec: open })),
    config: shape({ schema: open, mutableKeys: list(text) }),
    secrets: list(secret),
    connectors: list(connector),
    knowledge: shape({
      capability: text,
      embeddingModel: text,
      limits: shape({ maxDocuments: money, maxBytes: money, maxDocumentBytes: money }),
    }),
    steps: list(step),
    globals: list({
      ...shape(
        { name: text, capability: text, fromConfig: text, fromSecret: text, fromInstance: text },
        ...['fromConfig', 'fromSecret', 'fromInstance'],
      ),
      minProperties: 3,
      maxProperties: 3,
    }),
    entitlements: list(shape({ feature: text, type: word('Boolean', 'Static', 'Metered'), value: text }, 'value')),
    limits,
    dimensions: list(dimension),
    plans: list(plan, { minItems: 1 }),
    exhaustion: list(shape({ action: word('Notify', 'Pause', 'Terminate'), afterSeconds: money })),
    onDisconnect: word('Drain', 'Abort'),
    minimumRuntimeProfile: word('Shared', 'Namespace'),
    upgradesFrom: text,
  },
  'knowledge',
  'upgradesFrom',
);
