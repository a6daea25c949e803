import { redact } from '../../git/errors.ts';

/** A cause is a sentence or two; what is longer is a dump. Characters. */
const MAX_CAUSE = 1024;

/**
 * Parts that differ at every attempt though the cause is the same: a condition that carried them would be
 * written anew with every retry. Kubernetes and Argo CD write them in these forms.
 */
const UNSTEADY: readonly (readonly [RegExp, string])[] = [
  // "… Retrying attempt #2 at 9:14PM.", "(retried 5 times)."
  [/\.? Retrying attempt #\d+ at [^.]*\.?/g, '.'],
  [/ \(retried \d+ times\)/g, ''],
  // 'pods "claims-7d64f4b5f9-6zq9v" is forbidden': the name is drawn anew for every attempt.
  [/\bpods "[^"]*"/g, 'pods'],
  [/, used: [^,]*(?:,[^,=]*=[^,]*)*(?=, limited:)/g, ''],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?/g, '<time>'],
  // Ephemeral ports and the cluster's inner addresses.
  [/(\b\d{1,3}(?:\.\d{1,3}){3}):\d{5}->/g, '$1->'],
];

/** A token of Vault or OpenBao, should another program ever quote one. */
const VAULT_TOKEN = /\bhv[sbr]\.[\w-]{8,}/g;

/** The words of another program as a condition may carry them: one line, bounded, steady, without credentials. */
export function steadyWords(text: string): string {
  let words = text;
  for (const [pattern, instead] of UNSTEADY) words = words.replace(pattern, instead);
  words = redact(words.replace(VAULT_TOKEN, '[redacted]').replace(/\s+/g, ' ').trim());
  return words.length > MAX_CAUSE ? `${words.slice(0, MAX_CAUSE - 1)}…` : words;
}

/** As a sentence: it ends with a full stop. */
export function sentence(text: string): string {
  return /[.!…]$/.test(text) ? text : `${text}.`;
}
