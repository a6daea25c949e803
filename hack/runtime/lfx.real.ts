import { join } from 'node:path';
import { runtimeContract } from './contract.suite.ts';
import { exportFlow, installLfx, LFX_VERSION, startLfx } from './lfx.ts';

const FLOWS = join(import.meta.dirname, '../../config/flows');
const lfx = await installLfx((line) => process.stderr.write(`# ${line}\n`));

/** The export with Python of its own in a component of its own. */
function withOwnComponent(flow: Uint8Array): Uint8Array {
  const document = JSON.parse(new TextDecoder().decode(flow));
  const [node] = document.data.nodes;
  const { code } = node.data.node.template;
  code.value = `${code.value}\nprint("mine")\n`;
  node.data.type = 'MyComponent';
  return new TextEncoder().encode(JSON.stringify(document));
}

runtimeContract({
  name: `lfx ${LFX_VERSION}`,
  start: () => startLfx(lfx),
  flows: async () => {
    const triage = await exportFlow(lfx, join(FLOWS, 'claims-triage.py'));
    const secret = await exportFlow(lfx, join(FLOWS, 'secret-echo.py'));
    return { triage, secret, custom: withOwnComponent(triage) };
  },
});
