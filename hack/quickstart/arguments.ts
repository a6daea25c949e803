import { parseArgs } from 'node:util';

export interface Arguments {
  once: boolean;
  /** Path without ending of a recorded delivery: `BASE.head` and `BASE.body`. */
  order?: string;
  /** The shop's keys for that delivery. */
  jwks?: string;
  runtime?: { url: string; key: string };
  /** A Langflow export that replaces the flow of `claims-agent`. */
  flow?: string;
}

export const USAGE = `usage: npm run quickstart [-- OPTIONS]

  --once                              do everything once and exit; the last line is a JSON object
  --order BASE --jwks FILE            replay a recorded delivery (BASE.head, BASE.body) signed by those keys
  --runtime-url URL --runtime-key KEY use a real lfx or Langflow runtime instead of the sample runtime
  --flow FILE                         run this Langflow export as the flow of claims-agent

Settings (docs/settings.md): GSV_DATA_DIR (.data), GSV_GATEWAY_PORT (7100), GSV_LEDGER_PORT (7101), GSV_RUNNER_PORT (7102).
`;

export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** @throws UsageError that names the option */
export function readArguments(argv: readonly string[]): Arguments {
  const text = { type: 'string' } as const;
  let values: {
    once?: boolean;
    order?: string;
    jwks?: string;
    'runtime-url'?: string;
    'runtime-key'?: string;
    flow?: string;
  };
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        once: { type: 'boolean' },
        order: text,
        jwks: text,
        'runtime-url': text,
        'runtime-key': text,
        flow: text,
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { order, jwks, flow, 'runtime-url': url, 'runtime-key': key } = values;
  if ((order === undefined) !== (jwks === undefined)) throw new UsageError('--order and --jwks go together');
  if ((url === undefined) !== (key === undefined)) throw new UsageError('--runtime-url and --runtime-key go together');
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? '')) {
    throw new UsageError('--runtime-url must be an http or https URL');
  }
  return {
    once: values.once ?? false,
    ...(order === undefined ? {} : { order }),
    ...(jwks === undefined ? {} : { jwks }),
    ...(url !== undefined && key !== undefined ? { runtime: { url, key } } : {}),
    ...(flow === undefined ? {} : { flow }),
  };
}
