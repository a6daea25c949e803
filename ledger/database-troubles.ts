/** One way in which PostgreSQL does not serve. */
interface Trouble {
  /** A sentence for the caller. */
  meaning: string;
  /** What an operator does about it. */
  next: string;
  /** Seconds after which a caller should come back. */
  retryAfterSeconds: number;
  /** SQLSTATE codes or their classes, https://www.postgresql.org/docs/18/errcodes-appendix.html. */
  states: RegExp;
  /** The statement was refused as a whole: nothing was booked. Absent: nobody knows. */
  refused?: true;
}

/**
 * Every way, by its stable code; the first whose `states` fit. A caller does the same in each: it comes back under
 * the same key. Which one it is says what has to be mended.
 */
export const DATABASE_TROUBLES = {
  wallet_busy: {
    meaning: 'Another transaction holds the wallet locked; nothing was booked; retry with the same key.',
    next: 'look into pg_stat_activity for a transaction that stays open, and end it with pg_terminate_backend',
    retryAfterSeconds: 1,
    states: /^55P03$/,
    refused: true,
  },
  database_full: {
    meaning: 'The disk of the database is full; nothing was booked; retry with the same key.',
    next: 'make room on the disk of the data folder or enlarge it; the ledger goes on by itself',
    retryAfterSeconds: 10,
    states: /^53100$/,
    refused: true,
  },
  database_connections: {
    meaning: 'The database takes no more connections; nothing was booked; retry with the same key.',
    next: 'raise max_connections, or find out in pg_stat_activity who holds them',
    retryAfterSeconds: 2,
    states: /^53300$/,
    refused: true,
  },
  database_read_only: {
    meaning: 'The database is a replica or is set to read-only; nothing was booked; retry with the same key.',
    next: 'let GSV_LEDGER_DATABASE_URL lead to the primary, promote the replica, or reset default_transaction_read_only',
    retryAfterSeconds: 5,
    states: /^25006$/,
    refused: true,
  },
  database_starting: {
    meaning: 'The database is starting, recovering or shutting down; nothing was booked; retry with the same key.',
    next: 'wait; if it lasts, read the log of PostgreSQL',
    retryAfterSeconds: 2,
    states: /^57P03$/,
    refused: true,
  },
  database_stopping: {
    meaning: 'An administrator or a crash ended the connection; retry with the same key.',
    next: 'nothing, if somebody restarts PostgreSQL; else read its log',
    retryAfterSeconds: 1,
    states: /^57P0[1245]$/,
  },
  database_slow: {
    meaning: 'The database did not finish in time and gave up; nothing was booked; retry with the same key.',
    next: 'look for a disk or a CPU that is busy; `npm run bench:ledger` says what is usual',
    retryAfterSeconds: 2,
    states: /^57014$/,
    refused: true,
  },
  database_login: {
    meaning: 'The database refuses the ledger’s login; nothing was booked; retry with the same key.',
    next: 'correct user, password and database in GSV_LEDGER_DATABASE_URL, or the rules in pg_hba.conf',
    retryAfterSeconds: 10,
    states: /^(28...|3D000)$/,
    refused: true,
  },
  database_unavailable: {
    meaning: 'The database is away; retry with the same key.',
    next: 'look whether PostgreSQL runs and can be reached from here',
    retryAfterSeconds: 1,
    // Connection exceptions, and whatever else it lacks.
    states: /^(08...|53...)$/,
  },
} as const satisfies Record<string, Trouble>;

/** The stable code of a trouble. */
export type DatabaseTrouble = keyof typeof DATABASE_TROUBLES;

/** What an SQLSTATE says about the database as a whole; undefined when it is about the statement. */
export function troubleOf(state: string): DatabaseTrouble | undefined {
  const codes = Object.keys(DATABASE_TROUBLES) as DatabaseTrouble[];
  return codes.find((code) => DATABASE_TROUBLES[code].states.test(state));
}
