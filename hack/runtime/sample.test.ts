import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runtimeContract, SECRET_GLOBAL } from './contract.suite.ts';
import { startSampleRuntime } from './sample.ts';
import { CUSTOM_FLOW, SECRET_FLOW } from './sample-testing.ts';

const CLAIMS_TRIAGE = join(import.meta.dirname, '../../config/flows/claims-triage.json');

runtimeContract({
  name: 'sample runtime',
  start: () => startSampleRuntime({ key: 'sample-key' }),
  flows: async () => ({
    triage: await readFile(CLAIMS_TRIAGE),
    secret: SECRET_FLOW(SECRET_GLOBAL),
    custom: CUSTOM_FLOW,
  }),
});
