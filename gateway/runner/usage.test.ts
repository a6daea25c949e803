import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Tokens, UsageMeter } from './usage.ts';

const tokens = (input: number, output: number) => ({
  input_tokens: input,
  output_tokens: output,
  total_tokens: input + output,
});

const CASES: { reason: string; report: (meter: UsageMeter) => void; total: Tokens | undefined }[] = [
  { reason: 'nothing reported is unknown, not zero', report: () => {}, total: undefined },
  {
    reason: 'one vertex told five times counts once',
    report: (meter) => {
      meter.buildStarted('llm');
      meter.tokenStreamed('m1');
      for (let i = 0; i < 3; i++) meter.messageSeen('m1', 'llm', tokens(10, 4));
      meter.vertexEnded('llm', tokens(10, 4));
      meter.vertexEnded('llm', tokens(10, 4));
      meter.messageSeen('m2', 'out', tokens(10, 4));
    },
    total: { input: 10, output: 4 },
  },
  {
    reason: 'two vertices add up, their sum in the output’s message does not',
    report: (meter) => {
      for (const vertex of ['a', 'b']) {
        meter.buildStarted(vertex);
        meter.vertexEnded(vertex, tokens(10, 4));
      }
      meter.messageSeen('m', 'b', tokens(20, 8));
    },
    total: { input: 20, output: 8 },
  },
  {
    reason: 'a vertex in a loop counts each execution',
    report: (meter) => {
      for (let i = 0; i < 3; i++) {
        meter.buildStarted('llm');
        meter.vertexEnded('llm', tokens(5, 1));
      }
    },
    total: { input: 15, output: 3 },
  },
  {
    reason: 'a model streamed by the output reports only in its message; later figures there are sums',
    report: (meter) => {
      meter.buildStarted('a');
      meter.vertexEnded('a', tokens(100, 10));
      meter.buildStarted('b');
      meter.vertexEnded('b', null);
      meter.messageSeen('m', 'b', null);
      meter.tokenStreamed('m');
      meter.messageSeen('m', 'b', tokens(50, 5));
      meter.messageSeen('m', 'b', tokens(100, 10));
    },
    total: { input: 150, output: 15 },
  },
  {
    reason: 'messages alone are better than nothing, once per source',
    report: (meter) => {
      meter.messageSeen('m1', 'llm', tokens(3, 1));
      meter.messageSeen('m2', 'llm', tokens(3, 1));
    },
    total: { input: 3, output: 1 },
  },
  {
    reason: 'figures that are no counts are not believed',
    report: (meter) => {
      meter.vertexEnded('a', { input_tokens: -1, output_tokens: 1.5 });
      meter.vertexEnded('b', { input_tokens: '7', output_tokens: 10 ** 12 });
      meter.vertexEnded('c', 'usage');
    },
    total: undefined,
  },
  {
    reason: 'a side that is missing is zero',
    report: (meter) => meter.vertexEnded('embedding', { input_tokens: 9, output_tokens: null }),
    total: { input: 9, output: 0 },
  },
];

for (const { reason, report, total } of CASES) {
  test(`usage: ${reason}`, () => {
    const meter = new UsageMeter();
    report(meter);
    assert.equal(meter.total(), total);
  });
}
