/**
 * IP addresses as numbers. `node:net` knows them too, but nothing of the network is imported into the
 * renderer, not even its pure parts: the rule is simpler to check than its exceptions.
 */
export interface Network {
  /** As it was written. */
  address: string;
  bits: number;
  family: 4 | 6;
  value: bigint;
}

const WIDTH = { 4: 32, 6: 128 } as const;
const OCTET = /^(0|[1-9]\d{0,2})$/;

/** An address alone, or a network in CIDR notation with `/bits`; undefined for anything else. */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  if (rest.length > 0) return undefined;
  const parsed = parseAddress(address);
  if (parsed === undefined) return undefined;
  const width = WIDTH[parsed.family];
  if (bits === undefined) return { address, bits: width, ...parsed };
  return OCTET.test(bits) && Number(bits) <= width ? { address, bits: Number(bits), ...parsed } : undefined;
}

export function cidr({ address, bits }: Network): string {
  return `${address}/${bits}`;
}

/** True when the two networks share an address. */
export function overlap(one: Network, other: Network): boolean {
  if (one.family !== other.family) return false;
  const shift = BigInt(WIDTH[one.family] - Math.min(one.bits, other.bits));
  return one.value >> shift === other.value >> shift;
}

function parseAddress(text: string): { family: 4 | 6; value: bigint } | undefined {
  const octets = text.split('.');
  if (octets.length === 4 && octets.every((octet) => OCTET.test(octet) && Number(octet) < 256)) {
    return { family: 4, value: join(octets.map(BigInt), 8n) };
  }
  if (!text.includes(':') || !/^[0-9a-fA-F:.]+$/.test(text) || !URL.canParse(`http://[${text}]/`)) return undefined;
  // The URL parser checks the address and writes it in one form: lower-case groups, one `::`, no dots.
  const [head = '', tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split('::');
  const left = groups(head);
  const right = groups(tail ?? '');
  const zeros = new Array<bigint>(8 - left.length - right.length).fill(0n);
  return { family: 6, value: join([...left, ...zeros, ...right], 16n) };
}

function groups(text: string): bigint[] {
  return text === '' ? [] : text.split(':').map((group) => BigInt(`0x${group}`));
}

function join(parts: readonly bigint[], width: bigint): bigint {
  return parts.reduce((value, part) => (value << width) | part, 0n);
}
