/** One KV v2 mount, as `builtin/logical/kv` of OpenBao answers. */
import type { Reply } from './double.ts';

interface Version {
  data: unknown;
  created: string;
  deleted: string;
  destroyed: boolean;
}

interface Entry {
  casRequired: boolean;
  created: string;
  updated: string;
  versions: Map<number, Version>;
  current: number;
}

/** OpenBao keeps ten when nothing else is said. */
const KEPT_VERSIONS = 10;

export class KvDouble {
  casRequired = false;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  constructor(now: () => number) {
    this.#now = now;
  }

  exists(path: string): boolean {
    return this.#entries.has(path);
  }

  /** `route` is what follows the mount: `data/…`, `metadata/…`, `destroy/…`, `delete/…`, `config`. */
  handle(method: string, route: string, body: Record<string, unknown>): Reply {
    const [, kind = '', path = ''] = /^([^/]+)\/?(.*)$/.exec(route) ?? [];
    switch (`${method} ${kind}`) {
      case 'GET data':
        return this.#read(path);
      case 'POST data':
      case 'PUT data':
        return this.#write(path, body);
      case 'DELETE data':
        return this.#mark([this.#entries.get(path)?.current ?? 0], path, 'delete');
      case 'POST delete':
      case 'POST destroy':
        if (!Array.isArray(body.versions))
          return invalid(kind === 'delete' ? 'No version number provided' : 'no version number provided');
        return this.#mark(body.versions as number[], path, kind as 'delete' | 'destroy');
      case 'GET metadata':
        return this.#metadata(path);
      case 'POST metadata':
        this.#entry(path).casRequired = body.cas_required === true;
        return { status: 204 };
      case 'LIST metadata':
        return this.#list(path);
      case 'DELETE metadata':
        this.#entries.delete(path);
        return { status: 204 };
      case 'POST config':
        this.casRequired = body.cas_required === true;
        return { status: 204 };
      default:
        return { status: 405, body: { errors: ['1 error occurred:\n\t* unsupported operation\n\n'] } };
    }
  }

  #read(path: string): Reply {
    const entry = this.#entries.get(path);
    const version = entry?.versions.get(entry.current);
    if (!entry || !version) return { status: 404, body: { errors: [] } };
    const metadata = this.#described(version, entry.current);
    const gone = version.destroyed || version.deleted !== '';
    if (gone) return { status: 404, body: { data: { data: null, metadata } } };
    return { status: 200, body: { data: { data: version.data, metadata } } };
  }

  #write(path: string, { data, options }: Record<string, unknown>): Reply {
    if (data === undefined) return invalid('no data provided');
    if (typeof data !== 'object')
      return invalid(`error converting input for field "data": '' expected a map, got '${typeof data}'`);
    const { cas } = (options ?? {}) as { cas?: unknown };
    if (cas !== undefined && !/^\d+$/.test(String(cas))) return invalid('error parsing check-and-set parameter');
    const present = this.#entries.get(path);
    if (cas === undefined && (this.casRequired || present?.casRequired))
      return invalid('check-and-set parameter required for this call');
    if (cas !== undefined && Number(cas) !== (present?.current ?? 0))
      return invalid('check-and-set parameter did not match the current version');
    const entry = this.#entry(path);
    const created = this.#time();
    const version: Version = { data: structuredClone(data), created, deleted: '', destroyed: false };
    entry.current += 1;
    entry.updated = created;
    entry.versions.set(entry.current, version);
    entry.versions.delete(entry.current - KEPT_VERSIONS);
    return { status: 200, body: { data: this.#described(version, entry.current) } };
  }

  #mark(numbers: number[], path: string, how: 'delete' | 'destroy'): Reply {
    for (const number of numbers) {
      const version = this.#entries.get(path)?.versions.get(number);
      if (!version) continue;
      if (how === 'delete') version.deleted = this.#time();
      else Object.assign(version, { destroyed: true, data: null });
    }
    return { status: 204 };
  }

  #metadata(path: string): Reply {
    const entry = this.#entries.get(path);
    if (!entry) return { status: 404, body: { errors: [] } };
    const versions = [...entry.versions].map(([number, each]) => [
      number,
      { created_time: each.created, deletion_time: each.deleted, destroyed: each.destroyed },
    ]);
    const data = {
      cas_required: entry.casRequired,
      created_time: entry.created,
      current_version: entry.current,
      custom_metadata: null,
      delete_version_after: '0s',
      max_versions: 0,
      oldest_version: Math.min(...entry.versions.keys()),
      updated_time: entry.updated,
      versions: Object.fromEntries(versions),
    };
    return { status: 200, body: { data } };
  }

  #list(path: string): Reply {
    const folder = path === '' ? '' : `${path.replace(/\/$/, '')}/`;
    const below = [...this.#entries.keys()].filter((key) => key.startsWith(folder));
    const keys = [...new Set(below.map((key) => key.slice(folder.length).replace(/\/.*$/, '/')))].sort();
    return keys.length === 0 ? { status: 404, body: { errors: [] } } : { status: 200, body: { data: { keys } } };
  }

  #entry(path: string): Entry {
    const at = this.#time();
    const entry = this.#entries.get(path) ?? {
      casRequired: false,
      created: at,
      updated: at,
      versions: new Map<number, Version>(),
      current: 0,
    };
    this.#entries.set(path, entry);
    return entry;
  }

  #described({ created, deleted, destroyed }: Version, version: number): Record<string, unknown> {
    return { created_time: created, custom_metadata: null, deletion_time: deleted, destroyed, version };
  }

  /** Vault's times have nanoseconds. */
  #time(): string {
    return new Date(this.#now()).toISOString().replace('Z', '000001Z');
  }
}

function invalid(message: string): Reply {
  return { status: 400, body: { errors: [message] } };
}
