/** The house rules that no linter knows. A rule is a test or it is no rule. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';

const ROOT = join(import.meta.dirname, '..');
const MAX_LINES = 400;

interface Rule {
  name: string;
  applies: (path: string) => boolean;
  /** Returns what is wrong, each with a line where it can. */
  check: (text: string, path: string) => string[];
  /** A text that must be caught: a rule that cannot fail is no rule. */
  violation: { path: string; text: string };
}

const isTypeScript = (path: string): boolean => path.endsWith('.ts') && !path.includes('/generated/');
const isTest = (path: string): boolean => /\.(test|real|soak|suite)\.ts$/.test(path);
const isProduct = (path: string): boolean => isTypeScript(path) && !isTest(path) && !path.startsWith('hack/');

function lines(text: string, pattern: RegExp): string[] {
  return text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`line ${index + 1}: ${line.trim()}`] : []));
}

const RULES: Rule[] = [
  {
    name: `no TypeScript file over ${MAX_LINES} lines`,
    applies: isTypeScript,
    check: (text) => (text.split('\n').length - 1 > MAX_LINES ? [`${text.split('\n').length - 1} lines`] : []),
    violation: { path: 'config/x.ts', text: 'x;\n'.repeat(MAX_LINES + 1) },
  },
  {
    name: 'no merge was left half done',
    applies: () => true,
    check: (text) => lines(text, /^(<{7}|>{7}) /),
    violation: { path: 'docs/x.md', text: `${'<'.repeat(7)} HEAD` },
  },
  {
    name: 'render and preview use no clock and no random',
    applies: (path) => /^operator\/(render|preview)\//.test(path) && !isTest(path) && isTypeScript(path),
    check: (text) =>
      lines(text, /Date\.now|new Date\(\)|Math\.random|randomUUID|randomBytes|from 'node:(fs|net|dns|http|tls|child)/),
    violation: { path: 'operator/render/x.ts', text: 'const at = Date.now();' },
  },
  {
    name: 'the environment is read in config/settings.ts only',
    applies: (path) => isProduct(path) && path !== 'config/settings.ts',
    check: (text) => lines(text, /process\.env\b/),
    violation: { path: 'ledger/x.ts', text: 'const url = process.env.GSV_URL;' },
  },
  {
    name: 'no test is focused, skipped or left to do',
    applies: (path) => isTypeScript(path) && path !== 'hack/tidy.test.ts' && path !== 'hack/testing/run.test.ts',
    check: (text) => lines(text, /\b(test|it|describe|suite)\.(only|skip|todo)\(|\b(only|skip|todo): *true/),
    violation: { path: 'ledger/x.test.ts', text: "test.only('x', () => {});" },
  },
  {
    name: 'no secret is handed to a log call',
    applies: isProduct,
    check: (text) =>
      lines(
        text,
        /\blog\.(trace|debug|info|warn|error|fatal)\(.*\b(token|password|secretValue|reveal\(\)|apiKey)\b *[,})]/,
      ),
    violation: { path: 'gateway/x.ts', text: "log.info({ token }, 'x');" },
  },
  {
    name: 'shipped code imports nothing of hack',
    applies: isProduct,
    check: (text) => lines(text, /from '(\.\.?\/)+hack\//),
    violation: { path: 'gateway/x.ts', text: "import { x } from '../hack/x.ts';" },
  },
  {
    name: 'no grab-bag files',
    applies: (path) => isTypeScript(path),
    check: (_text, path) => (/(^|\/)(utils?|helpers?|common|manager|types|misc)\.ts$/.test(path) ? [path] : []),
    violation: { path: 'ledger/utils.ts', text: '' },
  },
  {
    name: 'no machine path and no package-registry host',
    applies: (path) => !path.endsWith('.png') && path !== 'hack/tidy.test.ts',
    check: (text) =>
      lines(
        text,
        /\/work\/(main|shared|\.library)|\/tmp\/bash_jobs|registry\.npmjs\.org|proxy\.golang\.org|files\.pythonhosted/,
      ),
    violation: { path: 'README.md', text: 'see /work/main' },
  },
  {
    name: 'the product reads nothing of ../shared',
    applies: (path) => isTypeScript(path) && path !== 'hack/tidy.test.ts',
    check: (text) => lines(text, /\.\.\/shared\b/),
    violation: { path: 'gateway/x.test.ts', text: "readFileSync('../shared/fixtures')" },
  },
];

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT })
  .toString()
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(ROOT, path)));

for (const rule of RULES) {
  test(`${rule.name} (the rule catches a violation)`, () => {
    assert.ok(rule.applies(rule.violation.path), 'applies');
    assert.is.not(rule.check(rule.violation.text, rule.violation.path).length, 0);
  });
  test(rule.name, () => {
    const wrong = files
      .filter(rule.applies)
      .flatMap((path) => rule.check(readFileSync(join(ROOT, path), 'utf8'), path).map((what) => `${path}: ${what}`));
    assert.equal(wrong, []);
  });
}

test('every relative link in the documents leads somewhere', () => {
  const broken = files
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) =>
      [...readFileSync(join(ROOT, path), 'utf8').matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)]
        .map((match) => normalize(join(dirname(path), match[1] ?? '')))
        .filter((target) => !existsSync(join(ROOT, target)))
        .map((target) => `${path} -> ${target}`),
    );
  assert.equal(broken, []);
});

test('the lockfile carries no download address', () => {
  assert.not.match(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'), /"resolved"/);
});

test('the lockfile holds the packages of every platform, or npm ci refuses it', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const paths = Object.keys(packages);
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !paths.some((present) => present.endsWith(`node_modules/${name}`)))
      .map((name) => `${path} -> ${name}`),
  );
  assert.equal(missing, []);
});

test('every dependency has an exact version', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >;
  const loose = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
  );
  assert.equal(loose, []);
});
