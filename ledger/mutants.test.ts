/**
 * A few deliberate faults are built in and must be noticed by the suites that say so; the ledger as it is must not. All
 * of them: `npm run soak:ledger`, or `GSV_MUTANTS='the scope' npm test -- ledger/mutants` for those whose
 * name has that, `GSV_MUTANTS='run_one run_many'` for those of these functions.
 */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { MUTANTS, mutantOf, mutatedFile, mutateIn } from '../hack/testing/ledger-mutants.ts';
import { failureOf, hunt } from '../hack/testing/mutant-run.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';

const WANTED = process.env.GSV_MUTANTS;
/** One of the database, one of the source, one that only a race shows. */
const FEW = [
  'a refund takes more than its share: rounded down',
  'a changed migration is taken for the applied one',
  'the end of a hold takes no lock',
];
const chosen = MUTANTS.filter(({ fault, in: place }) =>
  WANTED === undefined
    ? FEW.includes(fault)
    : WANTED === 'all' || fault.includes(WANTED) || WANTED.split(' ').includes(Object.values(place).join()),
);

let database: TestDatabase;
before(async () => {
  database = await createTestDatabase();
});
after(() => database.close());

test('every fault can be built in', async () => {
  assert.ok(MUTANTS.length >= 25, `${MUTANTS.length}`);
  assert.is(new Set(MUTANTS.map(({ fault }) => fault)).size, MUTANTS.length);
  assert.throws(() => mutantOf('nothing'), /there is no mutant "nothing"/);
  for (const mutant of MUTANTS) {
    assert.ok(mutant.suites.length > 0, mutant.fault);
    if ('file' in mutant.in) await mutatedFile(mutant);
    // Rolled back, so that each is alone.
    else {
      const undone = new Error('undone');
      await database.admin
        .begin(async (tx) => {
          await mutateIn(tx, mutant);
          throw undone;
        })
        .catch((error: unknown) => assert.is(error, undone, `${mutant.fault}: ${error}`));
    }
  }
});

test('the ledger as it is passes', async () => {
  assert.is(await failureOf('ledger/expiry'), undefined);
});

for (const mutant of chosen) {
  test(`a suite notices that ${mutant.fault}`, async () => {
    const { noticed } = await hunt(mutant);
    assert.ok(noticed, `nobody noticed; looked at ${mutant.suites.join(', ')}`);
    process.stdout.write(`noticed: ${mutant.fault} <- ${noticed}\n`);
  });
}
