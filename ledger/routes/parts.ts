import type { ReadyCheck } from '../../config/ops.ts';
import type { AccountStatements } from '../account-statements.ts';
import type { DriftQuery, DriftReply } from '../drift.ts';
import type { Inbox } from '../inbox.ts';
import type { LedgerMetrics } from '../metrics.ts';
import type { LedgerOperations } from '../operations.ts';
import type { OrderStatements } from '../order-statements.ts';
import type { Outbox } from '../outbox.ts';
import type { LedgerQueries } from '../queries.ts';
import type { Statements } from '../statements.ts';
import type { AuditReply } from '../wire.ts';

/** What the endpoints are made of; built by the composition root. */
export interface LedgerParts {
  operations: LedgerOperations;
  queries: LedgerQueries;
  statements: Statements;
  orderStatements: OrderStatements;
  accountStatements: AccountStatements;
  inbox: Inbox;
  outbox: Outbox;
  /** Whether usage is sent to OpenMeter. */
  outboxEnabled: boolean;
  audit: () => Promise<AuditReply>;
  drift: (query: DriftQuery) => Promise<DriftReply>;
  ready: ReadyCheck;
  metrics: Pick<LedgerMetrics, 'waiting'>;
  /** Aborts when the process begins to stop, so that long polls end. */
  closing: AbortSignal;
}
