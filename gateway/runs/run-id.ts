import { createHash, randomUUID } from 'node:crypto';
import { problem } from '../errors.ts';
import type { Caller } from '../identity/caller.ts';

const KEY = /^[\x21-\x7e]{1,255}$/;

/** The caller's Idempotency-Key, checked. @throws Problem `idempotency_key_invalid` */
export function idempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header !== 'string' || !KEY.test(header)) throw problem('idempotency_key_invalid');
  return header;
}

/** A run that nobody will ask for again under a key. */
export function freshRunId(): string {
  return randomUUID();
}

/**
 * The run id of one attempt under a key: the same for every retry by the same caller at the same
 * Instance, and telling nobody else anything. A UUID of version 8 (RFC 9562, own hash).
 */
export function keyedRunId(instanceUid: string, caller: Caller, key: string, attempt: number): string {
  const parts = ['run', instanceUid, caller.subject, key, String(attempt)];
  const bytes = createHash('sha256').update(JSON.stringify(parts)).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Hex sha256 of a text: what the hold's context keeps of the input. */
export function textSha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
