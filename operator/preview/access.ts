import { parseAllDocuments } from 'yaml';
import type { Contract } from '../../crds/contract.ts';
import { type SetChange, setChange } from './changed.ts';

/** What an Instance may reach and what it is given. Names and addresses; never a value of a secret. */
export interface AccessChange {
  /** `name protocol url`. */
  connectors: SetChange;
  /** `connector/tool sha256:…`: a tool whose schema changed is one less and one more. */
  tools: SetChange;
  /** Host names: of connectors, and those the Project or the contract lets through. */
  hosts: SetChange;
  /** `name (source)`. */
  secrets: SetChange;
  /** Every opening of the rendered network policies, as one line. */
  network: SetChange;
}

type Files = ReadonlyMap<string, string>;

/** Network and hosts are read from the rendered manifests: what they open counts, not what somebody meant. */
export function accessChange(
  before: { contract?: Contract; files: Files },
  after: { contract?: Contract; files: Files },
): AccessChange {
  const compare = (list: (side: typeof before) => string[]): SetChange => setChange(list(before), list(after));
  return {
    connectors: compare(({ contract }) =>
      (contract?.connectors ?? []).map(({ name, protocol, url }) => `${name} ${protocol} ${withoutCredentials(url)}`),
    ),
    tools: compare(({ contract }) =>
      (contract?.connectors ?? []).flatMap(({ name, tools }) =>
        tools.map((tool) => `${name}/${tool.name} sha256:${tool.schemaSha256}`),
      ),
    ),
    hosts: compare(({ files }) => policies(files).flatMap(hosts)),
    secrets: compare(({ contract }) => (contract?.secrets ?? []).map(({ name, source }) => `${name} (${source})`)),
    network: compare(({ files }) => policies(files).flatMap(openings)),
  };
}

/** An address may carry a user and a password, or a key as query: neither is for a screen. */
function withoutCredentials(url: string): string {
  if (!URL.canParse(url)) return '(not a URL)';
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

interface Peer {
  ipBlock?: { cidr: string };
  namespaceSelector?: { matchLabels?: Record<string, string> };
  podSelector?: { matchLabels?: Record<string, string> };
}
interface Port {
  protocol?: string;
  port?: number | string;
}
interface Policy {
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
  spec: { ingress?: { from?: Peer[]; ports?: Port[] }[]; egress?: { to?: Peer[]; ports?: Port[] }[] };
}

function policies(files: Files): Policy[] {
  return [...files.values()]
    .flatMap((text) => parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Policy))
    .filter(({ kind }) => kind === 'NetworkPolicy');
}

function hosts({ metadata }: Policy): string[] {
  return metadata.annotations?.['store.gsv.dev/egress-hosts']?.split(',') ?? [];
}

function openings({ metadata, spec }: Policy): string[] {
  const line = (way: string, peers: Peer[] | undefined, ports: Port[] | undefined): string =>
    `${metadata.name}: ${way} ${(peers ?? []).map(peerText).join(' or ') || 'anyone'} ${(ports ?? []).map(portText).join(', ') || 'any port'}`;
  return [
    ...(spec.ingress ?? []).map(({ from, ports }) => line('from', from, ports)),
    ...(spec.egress ?? []).map(({ to, ports }) => line('to', to, ports)),
  ];
}

function peerText({ ipBlock, namespaceSelector, podSelector }: Peer): string {
  if (ipBlock) return ipBlock.cidr;
  const namespace = Object.values(namespaceSelector?.matchLabels ?? {}).join('+') || 'this namespace';
  const pods = Object.values(podSelector?.matchLabels ?? {}).join('+');
  return pods === '' ? namespace : `${namespace}/${pods}`;
}

function portText({ protocol = 'TCP', port = 'any' }: Port): string {
  return `${protocol} ${port}`;
}
