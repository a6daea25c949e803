/** Reads the executable examples of a Markdown page; see `hack/docs.test.ts` for the conventions. */

export interface Fence {
  /** First word after the backticks. */
  language: string;
  /** The rest of that line. */
  info: string;
  body: string;
  /** Of the opening backticks, counted from 1. */
  line: number;
}

export interface Example {
  /** Which process it talks to. */
  process: string;
  body: string;
  line: number;
  /** What it must print; absent: it must only succeed. */
  output: Fence | undefined;
}

/** All fenced blocks, in the order of the page. */
export function fencesOf(markdown: string): Fence[] {
  const fences: Fence[] = [];
  let open: { fence: Fence; lines: string[] } | undefined;
  for (const [index, line] of markdown.split('\n').entries()) {
    if (!line.startsWith('```')) {
      open?.lines.push(line);
    } else if (open) {
      fences.push({ ...open.fence, body: open.lines.join('\n') });
      open = undefined;
    } else {
      const [language = '', ...rest] = line.slice(3).trim().split(/\s+/);
      open = { fence: { language, info: rest.join(' '), body: '', line: index + 1 }, lines: [] };
    }
  }
  if (open) throw new SyntaxError(`the fence of line ${open.fence.line} is never closed`);
  return fences;
}

/** The fences that say `run=…`, each with the `output` fence that follows it. */
export function examplesOf(markdown: string): Example[] {
  const fences = fencesOf(markdown);
  return fences.flatMap(({ language, info, body, line }, index) => {
    const process = /^run=([a-z]+)$/.exec(info)?.[1];
    if (language !== 'sh' || process === undefined) return [];
    const next = fences[index + 1];
    return [{ process, body, line, output: next?.info === 'output' ? next : undefined }];
  });
}

/** What is wrong with the output of an example; empty when it is as the page says. */
export function mismatches({ output }: Example, printed: string | undefined): string[] {
  if (printed === undefined) return ['it was not reached'];
  if (output === undefined) return [];
  if (output.language !== 'json') return missingLines(output.body, printed);
  try {
    return differences(JSON.parse(output.body), JSON.parse(printed), '');
  } catch (error) {
    return [`${(error as Error).message} in ${printed}`];
  }
}

const ANYTHING = '…';

function missingLines(expected: string, printed: string): string[] {
  let from = 0;
  for (const line of expected.split('\n').filter((each) => each.trim() !== '')) {
    const at = printed.indexOf(line, from);
    if (at < 0) return [`"${line}" is missing in\n${printed}`];
    from = at + line.length;
  }
  return [];
}

/** Objects as subsets, lists by their length, `"…"` for any value that is there. */
function differences(expected: unknown, actual: unknown, pointer: string): string[] {
  if (expected === ANYTHING && actual !== undefined) return [];
  if (Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    return expected.flatMap((each, index) => differences(each, actual[index], `${pointer}/${index}`));
  }
  if (isObject(expected) && isObject(actual)) {
    return Object.entries(expected).flatMap(([key, each]) => differences(each, actual[key], `${pointer}/${key}`));
  }
  if (expected === actual) return [];
  return [`${pointer || '/'} is ${JSON.stringify(actual)}, the page says ${JSON.stringify(expected)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
