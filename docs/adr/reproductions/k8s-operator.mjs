// Shows why @dot-i/k8s-operator 1.3.9 is not used. It is no dependency of ours, so install it first,
// in an empty folder: `npm install @dot-i/k8s-operator@1.3.9`, then `node k8s-operator.mjs` there.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.cwd(), 'package.json'));
const Operator = require('@dot-i/k8s-operator').default;
const { KubeConfig } = require('@kubernetes/client-node');

const event = {
  type: 'ADDED',
  object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'b', resourceVersion: '1' } },
};
let watches = 0;
const server = createServer((_request, response) => {
  watches += 1;
  response.write(`${JSON.stringify(event)}\n`);
  // Long enough for the handler to fail; then the connection is reset, as any load balancer does.
  setTimeout(() => response.socket.resetAndDestroy(), 500);
});
server.listen(0, '127.0.0.1', async () => {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromClusterAndUser({ name: 'c', server: `http://127.0.0.1:${server.address().port}` }, { name: 'u' });
  let calls = 0;
  class Reproduction extends Operator {
    constructor() {
      super({
        debug: console.log,
        info: console.log,
        warn: console.log,
        error: (line) => console.log('error', String(line).slice(0, 90)),
      });
      this.kubeConfig = kubeConfig;
    }
    async init() {
      await this.watchResource('', 'v1', 'configmaps', async () => {
        calls += 1;
        throw new Error('the handler failed');
      });
    }
  }
  process.on('exit', (code) => console.log(`process exits with ${code}; handler calls: ${calls}, watches: ${watches}`));
  await new Reproduction().start();
  setTimeout(() => console.log('still alive: the reset was survived'), 3000).unref();
});
