import type { Mutant } from './ledger-mutants.ts';

/** Faults in TypeScript. */
export const SOURCE_MUTANTS: readonly Mutant[] = [
  {
    fault: 'two of one key or hold share a batch',
    in: { file: 'ledger/batch.ts' },
    from: 'const fits = mayJoin && !names.some((name) => this.#busy.has(name));',
    to: 'const fits = mayJoin;',
    suites: ['ledger/batch'],
  },
  {
    fault: 'the payload of a key does not cover its target',
    in: { file: 'ledger/operations.ts' },
    from: 'canonicalize({ target, body: fields })',
    to: 'canonicalize({ body: fields })',
    suites: ['ledger/idempotency'],
  },
  {
    fault: 'the amount is no part of the payload',
    in: { file: 'ledger/operations.ts' },
    from: "new Set(['context', 'source', 'reason', 'resultRef', 'ttlSeconds'])",
    to: "new Set(['context', 'source', 'reason', 'resultRef', 'ttlSeconds', 'amount'])",
    suites: ['ledger/idempotency'],
  },
  {
    fault: 'a lost race is an error instead of a second try',
    in: { file: 'ledger/operations.ts' },
    from: "new Set(['40001', '40P01'])",
    to: 'new Set<string>()',
    suites: ['ledger/concurrency'],
  },
  {
    fault: 'a capture that leaves its hold open ends it in a batch',
    in: { file: 'ledger/batch-row.ts' },
    from: ' || body.final === false',
    to: '',
    suites: ['ledger/capture'],
  },
  {
    fault: 'a reader of the feed gets the last event again',
    in: { file: 'ledger/queries.ts' },
    from: '.where(gt(events.seq, after))',
    to: '.where(gt(events.seq, after - 1))',
    suites: ['ledger/events', 'ledger/concurrency'],
  },
  {
    fault: 'the audit does not tell of broken links',
    in: { file: 'ledger/audit.ts' },
    from: 'problems.push(...broken);',
    to: '',
    suites: ['ledger/audit', 'ledger/audit-chain'],
  },
  {
    fault: 'an archived month is written again',
    in: { file: 'ledger/archive.ts' },
    from: 'if (present) return JSON.parse(',
    to: 'if (present && 0) return JSON.parse(',
    suites: ['ledger/archive'],
  },
  {
    fault: 'any token may do everything',
    in: { file: 'ledger/tokens.ts' },
    from: 'if (scopes.has(needed)) return;',
    to: 'if (needed) return;',
    suites: ['ledger/http-authorization'],
  },
  {
    fault: 'a changed migration is taken for the applied one',
    in: { file: 'ledger/migrate.ts' },
    from: 'if (file.sha256 !== row.sha256) {',
    to: 'if (!file.sha256) {',
    suites: ['ledger/migrate'],
  },
  {
    fault: 'migrators do not wait for each other',
    in: { file: 'ledger/migrate.ts' },
    from: 'await sql`select pg_advisory_lock(hashtext(',
    to: 'await sql`select length((',
    suites: ['ledger/migrate'],
  },
];
