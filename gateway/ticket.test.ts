import { test } from 'node:test';
import { SignJWT, UnsecuredJWT } from 'jose';
import * as assert from 'uvu/assert';
import { type RunTicket, TicketBooth, TicketError } from './ticket.ts';

const KEY = 'k'.repeat(32);
const booth = new TicketBooth(() => KEY);

const ticket: RunTicket = {
  purpose: 'run',
  runId: '11111111-1111-4111-8111-111111111111',
  instance: { organization: 'acme', name: 'claims', uid: 'u1' },
  hold: 'hold_1',
  limits: { runSeconds: 60, inputBytes: 1000 },
};

async function refusal(token: string): Promise<string> {
  try {
    await booth.check(token);
    return 'accepted';
  } catch (error) {
    if (error instanceof TicketError) return error.code;
    throw error;
  }
}

function forged(change: (jwt: SignJWT) => SignJWT, key = KEY, typ = 'gsv-ticket+jwt'): Promise<string> {
  const jwt = new SignJWT({ gsv: ticket })
    .setProtectedHeader({ alg: 'HS256', typ })
    .setIssuer('gsv-edge')
    .setAudience('gsv-runner')
    .setIssuedAt()
    .setExpirationTime('60s');
  return change(jwt).sign(new TextEncoder().encode(key));
}

test('a ticket arrives as it was signed', async () => {
  assert.equal(await booth.check(await booth.sign(ticket, 60)), ticket);
});

test('the control of the forgeries below is accepted', async () => {
  assert.is(await refusal(await forged((jwt) => jwt)), 'accepted');
});

const unsecured = new UnsecuredJWT({ gsv: ticket })
  .setIssuer('gsv-edge')
  .setAudience('gsv-runner')
  .setExpirationTime('60s');

const FORGERIES: [reason: string, token: () => Promise<string> | string, code: string][] = [
  ['it is signed with another key', () => forged((jwt) => jwt, 'x'.repeat(32)), 'ticket_invalid'],
  ['it has expired', () => forged((jwt) => jwt.setExpirationTime(1)), 'ticket_expired'],
  ['it is for somebody else', () => forged((jwt) => jwt.setAudience('gsv-edge')), 'ticket_invalid'],
  ['somebody else made it', () => forged((jwt) => jwt.setIssuer('mallory')), 'ticket_invalid'],
  ['it is another kind of token', () => forged((jwt) => jwt, KEY, 'JWT'), 'ticket_invalid'],
  ['it is not signed', () => unsecured.encode(), 'ticket_invalid'],
  ['it is cut off', async () => (await booth.sign(ticket, 60)).slice(0, -2), 'ticket_invalid'],
  ['it is empty', () => '', 'ticket_invalid'],
];

for (const [reason, token, code] of FORGERIES) {
  test(`a ticket is refused when ${reason}`, async () => {
    assert.is(await refusal(await token()), code);
  });
}

test('a key that is too short is refused at the start, and its value is not repeated', () => {
  assert.throws(
    () => new TicketBooth(() => 'hunter2'),
    (error: Error) => error instanceof RangeError && !error.message.includes('hunter2'),
  );
});
