import { BlockList, isIP } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { overlap, parseNetwork } from './address.ts';

test('texts that are no address are none here', () => {
  const texts = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4/8/8',
    '1.2.3.4/08',
  ];
  for (const text of [
    ...texts,
    '::1/129',
    ':::',
    '1::2::3',
    'g::',
    '[::1]',
    '::1%eth0',
    'a:b',
    'example.com',
    '1.2.3.4 ',
  ]) {
    assert.is(parseNetwork(text), undefined, text);
  }
});

test('what counts as an address and what a network holds agree with Node', async () => {
  await fc.assert(
    fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), (one, other, bits) => agree(one, other, bits)),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.property(fc.ipV6(), fc.ipV6(), fc.integer({ min: 0, max: 128 }), (one, other, bits) => agree(one, other, bits)),
    { numRuns: 300 },
  );
});

function agree(address: string, other: string, bits: number): void {
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, bits, family);
  const [network, single] = [parseNetwork(`${address}/${bits}`), parseNetwork(other)];
  assert.ok(network && single, `${address}/${bits} and ${other} are read`);
  assert.is(overlap(network, single), list.check(other, family), `${address}/${bits} holds ${other}`);
}
