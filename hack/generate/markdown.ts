export const GENERATED = (source: string): string =>
  `<!-- Generated from ${source} by \`npm run generate\`. Do not edit. -->\n`;

/**
 * A table of GitHub Markdown, aligned as the formatter aligns it. Cells may hold anything but line
 * breaks, which become spaces.
 */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(cell));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const [first = [], ...others] = cells;
  return [line(first), line(widths.map((width) => '-'.repeat(width))), ...others.map(line)].join('\n');
}

function cell(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')
    .trim();
}

export const code = (text: string): string => `\`${text}\``;
