import { type LedgerSql, withDatabase } from './database.ts';

/** A link of the chain that somebody has kept elsewhere: an archive's manifest, an earlier audit, the metrics. */
export interface KnownHead {
  link: number;
  /** sha256, hexadecimal. */
  digest: string;
}

/** `LINK:DIGEST`, as an archive's `chain` and an audit's answer have it; undefined when it is none. */
export function parseHead(text: string): KnownHead | undefined {
  const [, link, digest] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  return link === undefined || digest === undefined ? undefined : { link: Number(link), digest };
}

/**
 * What a book cannot say of itself: that its end was cut off, or that all of it was made anew. A link that was kept
 * elsewhere must still be there with its digest; what lies before it is then what it was.
 *
 * @returns problems, none when the link is as it was
 */
export async function checkHead(sql: LedgerSql, known: KnownHead): Promise<string[]> {
  const [row] = await withDatabase(
    () => sql<{ digest: string }[]>`
      select encode(digest, 'hex') as digest from gsv_ledger.chain where link = ${known.link}`,
  );
  if (!row) return [`link_${known.link} is not there any more: the end of the book was cut off`];
  if (row.digest === known.digest) return [];
  return [`link_${known.link} is ${row.digest}, it was ${known.digest}: what comes before it has been changed`];
}
