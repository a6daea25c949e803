import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EDGE_ERRORS } from '../../gateway/errors.ts';
import { RUNNER_PROBLEMS } from '../../gateway/runner/problems.ts';
import { LEDGER_ERRORS } from '../../ledger/errors.ts';
import { code, GENERATED, table } from './markdown.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** One code of `application/problem+json`. */
export interface ErrorEntry {
  code: string;
  status: number;
  meaning: string;
}

interface Section {
  title: string;
  /** Folder whose sources are read for problems that stand outside a catalogue. */
  folder: string;
  /** Folders inside it that have a section of their own. */
  except?: string;
  catalogue: readonly ErrorEntry[];
}

/** `docs/errors.md`: every code that an HTTP answer of ours can carry, by process. */
export function errorsFile(): string {
  const sections = sectionsOf().map(({ title, folder, except, catalogue }) => {
    const known = new Set(catalogue.map((entry) => `${entry.code} ${entry.status}`));
    const inline = problemsIn(sources(folder, except)).filter((one) => !known.has(`${one.code} ${one.status}`));
    const rows = [...catalogue, ...inline]
      .toSorted((a, b) => a.status - b.status || (a.code < b.code ? -1 : 1))
      .map((entry) => [code(entry.code), String(entry.status), entry.meaning]);
    return `## ${title}\n\n${table(['code', 'status', 'meaning'], rows)}\n`;
  });
  return `${GENERATED('the sources')}
# Errors

Errors are \`application/problem+json\` (RFC 9457). \`code\` is stable: clients branch on it. \`errors[]\` holds the JSON pointer and rule of each violation, \`request_id\` finds the answer in the logs.

${sections.join('\n')}`;
}

function sectionsOf(): Section[] {
  return [
    { title: 'Every process', folder: 'config', catalogue: [] },
    {
      title: 'Edge (public API and webhooks)',
      folder: 'gateway',
      except: 'gateway/runner',
      catalogue: Object.entries(EDGE_ERRORS).map(([name, [status, meaning]]) => ({ code: name, status, meaning })),
    },
    { title: 'Runner (passed on by the edge)', folder: 'gateway/runner', catalogue: runnerErrors() },
    {
      title: 'Ledger (internal)',
      folder: 'ledger',
      catalogue: Object.entries(LEDGER_ERRORS).map(([name, { status, meaning }]) => ({ code: name, status, meaning })),
    },
  ];
}

/** The runner's catalogue holds the meaning as a comment where the code does not say it. */
function runnerErrors(): ErrorEntry[] {
  const source = readFileSync(join(ROOT, 'gateway/runner/problems.ts'), 'utf8');
  return Object.entries(RUNNER_PROBLEMS).map(([name, status]) => {
    const comment = new RegExp(`/\\*\\* (.+) \\*/\\n\\s*${name}:`).exec(source)?.[1];
    return { code: name, status, meaning: comment ?? `${sentence(name)}.` };
  });
}

function sentence(name: string): string {
  const words = name.replaceAll('_', ' ');
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

function sources(folder: string, except?: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => `${folder}/${file}`)
    .filter((file) => file.endsWith('.ts') && !/\.(test|suite|real)\.ts$/.test(file))
    .filter((file) => except === undefined || !file.startsWith(`${except}/`))
    .sort()
    .map((file) => readFileSync(join(ROOT, file), 'utf8'));
}

/**
 * Problems whose status and code are written out where they are thrown, or given to a helper of the
 * same file that fixes the status. What a detail computes is shown as `…`; a problem whose detail is
 * computed as a whole has no meaning to show.
 */
export function problemsIn(texts: readonly string[]): ErrorEntry[] {
  const found = new Map<string, ErrorEntry>();
  for (const text of texts) {
    const direct = /new Problem\(\{\s*status: (?<status>\d{3}),\s*code: '(?<code>\w+)',\s*detail:\s*/g;
    for (const entry of [...entries(text, direct), ...throughHelpers(text)]) {
      const key = `${entry.code} ${entry.status}`;
      if (!found.get(key)?.meaning) found.set(key, entry);
    }
  }
  return [...found.values()];
}

function throughHelpers(text: string): ErrorEntry[] {
  const helpers = text.matchAll(/function (\w+)\(code: [^{]*\{\s*return new Problem\(\{\s*status: (\d{3}),\s*code,/g);
  return [...helpers].flatMap(([, name, status]) =>
    entries(text, new RegExp(`\\b${name}\\(\\s*'(?<code>\\w+)',\\s*`, 'g'), Number(status)),
  );
}

function entries(text: string, pattern: RegExp, fixed?: number): ErrorEntry[] {
  return [...text.matchAll(pattern)].map((match) => ({
    code: match.groups?.code ?? '',
    status: fixed ?? Number(match.groups?.status),
    meaning: literal(text.slice(match.index + match[0].length)),
  }));
}

function literal(text: string): string {
  const quoted = /^(['`])((?:\\.|(?!\1).)*)\1/s.exec(text)?.[2];
  return quoted?.replaceAll(/\$\{[^}]*\}/g, '…').replaceAll("\\'", "'") ?? '';
}
