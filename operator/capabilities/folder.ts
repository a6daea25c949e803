import { opendir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseAllDocuments } from 'yaml';

/** A registry of more files than this is something else; the quickstart's has three. */
const MAX_FILES = 2_000;
/** The API server takes no object above 1.5 MiB; a file may hold several. Bytes. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** One document of kind Capability, not checked yet. */
export interface CapabilityDocument {
  /** Path below the folder. */
  file: string;
  object: Record<string, unknown>;
}

/** Something that is wrong with the registry: all of them are shown at once. */
export interface Problem {
  file: string;
  /** Path or pointer of the field; empty = the file as a whole. */
  field: string;
  rule: string;
  message: string;
}

export interface Registry {
  documents: CapabilityDocument[];
  problems: Problem[];
  /** Documents of other kinds, which are left alone. */
  others: number;
}

/**
 * Reads every `*.yaml`, `*.yml` and `*.json` below a folder. Links are not followed: a repository of somebody
 * else's could name any file of this machine.
 *
 * @throws Error when the folder itself cannot be read
 */
export async function readRegistry(folder: string): Promise<Registry> {
  const files = await filesOf(folder);
  const registry: Registry = { documents: [], problems: [], others: 0 };
  if (files.length > MAX_FILES) throw new Error(`${folder} has more than ${MAX_FILES} files of YAML or JSON`);
  for (const file of files) await readFileOf(folder, file, registry);
  return registry;
}

async function filesOf(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of await opendir(folder, { recursive: true })) {
    const path = relative(folder, join(entry.parentPath, entry.name));
    if (entry.isFile() && /\.(ya?ml|json)$/.test(entry.name) && !path.startsWith('.git/')) files.push(path);
  }
  return files.sort();
}

async function readFileOf(folder: string, file: string, registry: Registry): Promise<void> {
  const bytes = await readFile(join(folder, file));
  const wrong = (rule: string, message: string, field = '') => registry.problems.push({ file, field, rule, message });
  if (bytes.length > MAX_FILE_BYTES) return void wrong('too_large', `the file has more than ${MAX_FILE_BYTES} bytes`);
  for (const parsed of parseAllDocuments(bytes.toString('utf8'), { uniqueKeys: true })) {
    const [error] = parsed.errors;
    if (error) {
      const [at] = error.linePos ?? [];
      wrong('yaml', error.message.split('\n')[0] ?? 'no YAML', at === undefined ? '' : `line ${at.line}`);
      continue;
    }
    const value: unknown = madeOf(parsed, wrong);
    if (typeof value !== 'object' || value === null) continue;
    if ((value as { kind?: unknown }).kind === 'Capability')
      registry.documents.push({ file, object: value as Record<string, unknown> });
    else registry.others += 1;
  }
}

/** Aliases that multiply are an error of the parser's only when the value is made. */
function madeOf(parsed: { toJS: () => unknown }, wrong: (rule: string, message: string) => void): unknown {
  try {
    return parsed.toJS();
  } catch (error) {
    wrong('yaml', (error as Error).message);
    return undefined;
  }
}
