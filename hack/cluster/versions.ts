import { arch, platform } from 'node:os';
import { join } from 'node:path';

/** What the suites were written against. Published Go modules of these versions exist, so a build needs no repository. */
export const KUBERNETES_VERSION = 'v1.36.3';
export const ETCD_VERSION = 'v3.6.8';

/** The programs of a control plane without nodes. */
export const PROGRAMS = ['kube-apiserver', 'etcd', 'kube-controller-manager'] as const;
export type Program = (typeof PROGRAMS)[number];

/** Full path of each program. The controller manager is missing from some collections, and we can do without it. */
export type Binaries = Record<Exclude<Program, 'kube-controller-manager'>, string> &
  Partial<Record<'kube-controller-manager', string>>;

/** Tells a person what takes long; one sentence a call. */
export type Progress = (line: string) => void;

const ROOT = join(import.meta.dirname, '../..');

/** Where programs that we fetched or built lie: by version and machine, because `.cache` may be carried between machines. */
export const CACHE = join(ROOT, '.cache', 'cluster', `${KUBERNETES_VERSION}-${platform()}-${arch()}`);
