import { CATALOGUE, isSecret } from '../../config/settings.ts';
import { code, GENERATED, table } from './markdown.ts';

interface Setting {
  env: string;
  used: readonly string[];
  doc: string;
  parse: (text: string) => unknown;
  fallback?: unknown;
  fallbackDoc?: string;
}

/** `docs/settings.md`: every setting of `config/settings-catalogue.ts`, in its order. */
export function settingsFile(catalogue: Record<string, Setting> = CATALOGUE): string {
  const rows = Object.values(catalogue).map((setting) => [
    isSecret(setting) ? `${code(setting.env)} or ${code(`${setting.env}_FILE`)}` : code(setting.env),
    setting.used.join(', '),
    preset(setting),
    `${setting.doc}${form(setting)}`,
  ]);
  return `${GENERATED('config/settings-catalogue.ts')}
# Settings

Processes read their settings from the environment and check them at start: all problems are listed at once, then the process exits with 1. A secret can be given as \`X_FILE\`, the path of a file that holds it; the file is read again when it changes.

${table(['setting', 'read by', 'default', 'meaning'], rows)}
`;
}

function preset({ fallback, fallbackDoc }: Setting): string {
  if (fallbackDoc !== undefined) return fallbackDoc;
  return fallback === undefined ? '' : code(String(fallback));
}

/** What the parser says of a text that is no value of any setting: "must be one of …". */
function form({ parse }: Setting): string {
  const refusal = outcome(parse);
  return refusal instanceof TypeError ? ` It ${refusal.message}.` : '';
}

function outcome(parse: Setting['parse']): unknown {
  try {
    return parse('\u0000');
  } catch (error) {
    return error;
  }
}
