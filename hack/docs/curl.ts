/**
 * As much of curl as the documentation uses, for machines without it: the suites need only Node, npm
 * and git. It comes last on the PATH, so a real curl goes first.
 */
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    silent: { type: 'boolean', short: 's' },
    'show-error': { type: 'boolean', short: 'S' },
    'no-buffer': { type: 'boolean', short: 'N' },
    request: { type: 'string', short: 'X' },
    header: { type: 'string', short: 'H', multiple: true },
    data: { type: 'string', short: 'd' },
  },
});
const [url] = positionals;
if (url === undefined || positionals.length > 1) throw new TypeError('this curl takes exactly one URL');
const headers = new Headers();
for (const header of values.header ?? []) {
  const colon = header.indexOf(':');
  headers.append(header.slice(0, colon), header.slice(colon + 1).trim());
}
const response = await fetch(url, {
  method: values.request ?? (values.data === undefined ? 'GET' : 'POST'),
  headers,
  ...(values.data === undefined ? {} : { body: values.data }),
});
process.stdout.write(await response.text());
