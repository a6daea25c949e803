import { cidr, type Network, overlap, parseNetwork } from './address.ts';
import type { Platform } from './platform.ts';
import type { Value } from './yaml.ts';

/** What of a list of targets a core NetworkPolicy can say. */
export interface Egress {
  /** Rules for addresses, networks and services of the cluster. */
  rules: Value[];
  /** Host names: no core NetworkPolicy knows them. The runner's own guard enforces these; they are shown as an annotation. */
  hosts: string[];
}

/**
 * Who wrote the targets. The platform (contracts) may name services of the cluster and private
 * networks; a tenant (a Project's allow-list) may not: behind them lie everybody else's pods.
 */
export type Author = 'platform' | 'tenant';

const HOST = /^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const SERVICE = /^[a-z0-9][-a-z0-9]*\.([a-z0-9][-a-z0-9]*)\.svc(\.cluster\.local)?$/;

const HTTPS = 443;

/** Never opened by address: this host, loopback, link-local with the cloud's metadata, multicast. */
const REFUSED = networks('0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/3 ::/127 ::ffff:0:0/96 fe80::/10 ff00::/8');
/** Where clusters and company networks live. */
const PRIVATE = networks('10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fc00::/7');

/**
 * Targets are `host`, `*.host`, `host:port`, URLs, addresses (port 443 unless they name one) and networks in CIDR
 * notation (all ports). Malformed and refused ones open nothing, nor does a service in a namespace of the store:
 * ledger, runner, Vault's neighbours and other tenants' runtimes are for nobody's workload. Sorted, without doubles.
 */
export function egressRules(
  targets: readonly string[],
  author: Author,
  platform: Pick<Platform, 'systemNamespace' | 'argocdNamespace'>,
): Egress {
  const rules = new Map<string, Value>();
  const hosts = new Set<string>();
  for (const target of targets) {
    const network = target.includes('://') || !target.includes('/') ? undefined : parseNetwork(target);
    if (network !== undefined) {
      if (isOpen(network, author)) rules.set(cidr(network), { to: [{ ipBlock: { cidr: cidr(network) } }] });
      continue;
    }
    const place = parseHost(target);
    if (place === undefined) continue;
    const { host, port } = place;
    const ports = [{ protocol: 'TCP', port }];
    const single = parseNetwork(host);
    const namespace = SERVICE.exec(host)?.[1];
    if (single !== undefined) {
      if (isOpen(single, author)) rules.set(`${host} ${port}`, { to: [{ ipBlock: { cidr: cidr(single) } }], ports });
    } else if (namespace === undefined) hosts.add(port === HTTPS ? host : `${host}:${port}`);
    else if (author === 'platform' && !isOurs(namespace, platform))
      rules.set(`${namespace} ${port}`, { to: inside(namespace), ports });
  }
  const sorted = [...rules].sort(([a], [b]) => (a < b ? -1 : 1));
  return { rules: sorted.map(([, rule]) => rule), hosts: [...hosts].sort() };
}

function isOurs(
  namespace: string,
  { systemNamespace, argocdNamespace }: Pick<Platform, 'systemNamespace' | 'argocdNamespace'>,
): boolean {
  return ['kube-system', systemNamespace, argocdNamespace].includes(namespace) || /^gsv-(w|org)-/.test(namespace);
}

function inside(namespace: string): Value[] {
  return [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } }];
}

function isOpen(network: Network, author: Author): boolean {
  const closed = author === 'tenant' ? [...REFUSED, ...PRIVATE] : REFUSED;
  return !closed.some((range) => overlap(range, network));
}

function networks(list: string): Network[] {
  return list.split(' ').flatMap((text) => parseNetwork(text) ?? []);
}

function parseHost(text: string): { host: string; port: number } | undefined {
  const isUrl = text.includes('://');
  // Without a scheme a slash can only be a malformed network, whose host would be something else.
  if (!isUrl && text.includes('/')) return undefined;
  const url = isUrl ? text : `https://${parseNetwork(text)?.family === 6 ? `[${text}]` : text}`;
  if (!URL.canParse(url)) return undefined;
  const parsed = new URL(url);
  const host = parsed.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (parseNetwork(host) === undefined && !HOST.test(host)) return undefined;
  const port = parsed.port === '' ? (parsed.protocol === 'http:' ? 80 : HTTPS) : Number(parsed.port);
  return { host, port };
}
