import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { SecretMetadata } from '../../config/secrets.ts';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { FakeSecrets } from '../../hack/testing/operator/fakes.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

/** Another operator writes the generated secret right after we saw that it is not there. */
class RacedSecrets extends FakeSecrets {
  raced = false;

  override async metadata(path: string): Promise<SecretMetadata | undefined> {
    const seen = await super.metadata(path);
    if (seen === undefined && !this.raced) {
      this.raced = true;
      await this.write(path, { value: 'theirs' }, { cas: 0 });
    }
    return seen;
  }
}

test('of two writers of a generated secret the first wins, and the second goes on with its value', async () => {
  const world = await World.open();
  const secrets = new RacedSecrets();
  try {
    await world.start((doors) => ({ ...doors, secrets }));
    const generated = secretCapability().secrets?.slice(1) ?? [];
    await world.catalog({ capability: { ...secretCapability(), secrets: generated } });
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(secrets.raced, true);
    assert.is(await world.condition('Instance', { namespace: NS, name: 'claims' }), 'True/Succeeded');
    assert.equal([...secrets.values.values()], [{ version: 1, data: { value: 'theirs' } }]);
    assert.equal((await world.instance()).status?.secretVersions, [{ name: 'signing-key', version: 1 }]);
  } finally {
    await world.close();
  }
});
