import { LedgerError } from './ledger-error.ts';
import type { Transport } from './transport.ts';
import type { BatchOperation, BatchResult } from './wire.ts';

/** The ledger takes so many operations in one request. */
const MAX_OPERATIONS = 100;

/**
 * Sends any number of operations, a hundred in a request and one request after the other, and answers them in order.
 * Those of which the ledger cannot say whether they happened are asked for again under their keys, like single calls;
 * what is still open then has status 503.
 *
 * @throws LedgerError when a request as a whole is refused or gets no answer
 */
export async function sendBatch(transport: Transport, operations: readonly BatchOperation[]): Promise<BatchResult[]> {
  const results: BatchResult[] = [];
  for (let from = 0; from < operations.length; from += MAX_OPERATIONS) {
    results.push(...(await sendSome(transport, operations.slice(from, from + MAX_OPERATIONS))));
  }
  return results;
}

async function sendSome(transport: Transport, operations: readonly BatchOperation[]): Promise<BatchResult[]> {
  const started = performance.now();
  const results: BatchResult[] = [];
  let open = operations.map((_, place) => place);
  for (let attempts = 1; ; attempts += 1) {
    const sent = open.map((place) => operations[place]);
    const reply = await transport.call<{ results: BatchResult[] }>({
      method: 'POST',
      path: '/v1/batch',
      body: { operations: sent },
    });
    open.forEach((place, position) => {
      results[place] = reply.body.results[position] as BatchResult;
    });
    const [unknown] = reply.body.results.filter(({ status }) => status === 503);
    if (unknown === undefined) return results;
    open = open.filter((place) => results[place]?.status === 503);
    const error = new LedgerError(503, String(unknown.body.code), 'an operation of the batch was not answered', {});
    const goesOn = await transport.pause(error, { attempts, elapsedMs: performance.now() - started }).then(
      () => true,
      (thrown: unknown) => {
        if (thrown !== error) throw thrown;
        return false;
      },
    );
    if (!goesOn) return results;
  }
}
